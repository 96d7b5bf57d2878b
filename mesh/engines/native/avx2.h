/* Processors with AVX2: a register takes 8 numbers. Included by kernels.c with KIND(name) set.
 *
 * With WITH_AVX_VNNI set too, those that have its one instruction for four products.
 */

#define PARTS 2
#define ROWS_AT_ONCE 4
#define QUERIES_AT_ONCE 4
#define WEIGHED_AT_ONCE 16
#include "vectors.h"

INLINE Part KIND(fuse)(Part a, Part b, Part c) { return (Part)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }

INLINE Part KIND(widen)(const uint16_t *at) { return (Part)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)); }

INLINE float KIND(fuse_one)(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

INLINE uint16_t KIND(to_half)(float x) { return (uint16_t)_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }

INLINE __m256i KIND(bytes)(const uint8_t *at) { return _mm256_loadu_si256((const __m256i *)at); }

/* Four numbers of a row, again and again. */
INLINE __m256i KIND(fours)(const int8_t *x) { return _mm256_set1_epi32(KIND(four)(x)); }

/* Add products of quants up to 15 and a row: in 16 bits, which 8 times 2 * 15 * 127 do not outgrow. */
INLINE __m256i KIND(dot4)(__m256i sums, __m256i quants, __m256i x) {
#if defined(WITH_AVX_VNNI)
    return _mm256_dpbusd_avx_epi32(sums, quants, x);
#else
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(quants, x));
#endif
}

INLINE IntPart KIND(total4)(__m256i sums) {
#if defined(WITH_AVX_VNNI)
    return (IntPart)sums;
#else
    return (IntPart)_mm256_madd_epi16(sums, _mm256_set1_epi16(1));
#endif
}

/* Add products of quants from -128 to 127 and a row: one's size goes with the other's sign, because maddubs
 * takes numbers without a sign on one side. Two products of at most 128 * 127 fit its 16 bits. */
INLINE __m256i KIND(dot8)(__m256i sums, __m256i quants, __m256i sizes, __m256i x) {
#if defined(WITH_AVX_VNNI)
    return _mm256_dpbusd_avx_epi32(sums, sizes, _mm256_sign_epi8(x, quants));
#else
    __m256i pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(x, quants));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}

/* sums[row] = the quants of a block of 4 bits times a group of each of `count` rounded rows. */
INLINE void KIND(products4)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const __m256i low = _mm256_set1_epi8(15);
    EACH_PART {
        __m256i totals[ROWS_AT_ONCE];
        UNROLL for (int r = 0; r < count; r++) totals[r] = _mm256_setzero_si256();
        UNROLL for (int i = 0; i < 4; i++) {
            __m256i packed = KIND(bytes)(block + 64 * i + 32 * p);
            __m256i first = _mm256_and_si256(packed, low);
            __m256i second = _mm256_and_si256(_mm256_srli_epi16(packed, 4), low);
            UNROLL for (int r = 0; r < count; r++) {
                const int8_t *x = in.quants + r * GROUP + 4 * i;
                totals[r] = KIND(dot4)(totals[r], first, KIND(fours)(x));
                totals[r] = KIND(dot4)(totals[r], second, KIND(fours)(x + 16));
            }
        }
        UNROLL for (int r = 0; r < count; r++) sums[r].part[p] = KIND(total4)(totals[r]);
    }
}

/* The same for a block of 8 bits, whose quants are stored 128 too high. */
INLINE void KIND(products8)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const __m256i high = _mm256_set1_epi8(-128);
    EACH_PART {
        __m256i totals[ROWS_AT_ONCE];
        UNROLL for (int r = 0; r < count; r++) totals[r] = _mm256_setzero_si256();
        UNROLL for (int i = 0; i < 8; i++) {
            __m256i quants = _mm256_xor_si256(KIND(bytes)(block + 64 * i + 32 * p), high);
            __m256i sizes = _mm256_abs_epi8(quants);
            UNROLL for (int r = 0; r < count; r++) {
                __m256i x = KIND(fours)(in.quants + r * GROUP + 4 * i);
                totals[r] = KIND(dot8)(totals[r], quants, sizes, x);
            }
        }
        UNROLL for (int r = 0; r < count; r++) sums[r].part[p] = (IntPart)totals[r];
    }
}
