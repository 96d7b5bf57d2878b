/* Processors with AVX-512 and its VNNI: a register takes 16 numbers. Included by kernels.c with KIND(name) set. */

#define PARTS 1
#define ROWS_AT_ONCE 8 /* in a product */
#define QUERIES_AT_ONCE 8 /* of one head */
#define WEIGHED_AT_ONCE 64 /* numbers of a value */
#include "vectors.h"

INLINE Part KIND(fuse)(Part a, Part b, Part c) { return (Part)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }

INLINE Part KIND(widen)(const uint16_t *at) {
    return (Part)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
}

INLINE float KIND(fuse_one)(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

INLINE uint16_t KIND(to_half)(float x) { return (uint16_t)_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

INLINE IntPart KIND(dot)(IntPart sums, __m512i quants, const int8_t *four) {
    return (IntPart)_mm512_dpbusd_epi32((__m512i)sums, quants, _mm512_set1_epi32(KIND(four)(four)));
}

INLINE IntPart KIND(dots)(IntPart even, const __m512i *quants, const int8_t *x) {
    IntPart odd = {0};
    UNROLL for (int i = 0; i < 8; i += 2) {
        even = KIND(dot)(even, quants[i], x + 4 * i);
        odd = KIND(dot)(odd, quants[i + 1], x + 4 * i + 4);
    }
    return even + odd;
}

/* sums[row] = the quants of a block of 4 bits times a group of each of `count` rounded rows. */
INLINE void KIND(products4)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const __m512i low = _mm512_set1_epi8(15);
    const IntPart zero = {0};
    __m512i quants[8];
    UNROLL for (int i = 0; i < 4; i++) {
        __m512i packed = _mm512_loadu_si512(block + 64 * i);
        quants[i] = _mm512_and_si512(packed, low);
        quants[i + 4] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), low);
    }
    UNROLL for (int r = 0; r < count; r++) sums[r].part[0] = KIND(dots)(zero, quants, in.quants + r * GROUP);
}

/* The same for a block of 8 bits, whose quants are stored 128 too high. */
INLINE void KIND(products8)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const IntPart zero = {0};
    __m512i quants[8];
    UNROLL for (int i = 0; i < 8; i++) quants[i] = _mm512_loadu_si512(block + 64 * i);
    UNROLL for (int r = 0; r < count; r++)
        sums[r].part[0] = KIND(dots)(zero - 128 * in.sums[r], quants, in.quants + r * GROUP);
}
