/* Any processor: what C itself has, without calls of its library.
 *
 * Included by kernels.c with KIND(name) set.
 */

#define PARTS 4
#define ROWS_AT_ONCE 2
#define QUERIES_AT_ONCE 4
#define WEIGHED_AT_ONCE 16
#include "vectors.h"

/* a * b + c, rounded once. The product is exact in double precision. Their sum, where it is not, is made odd:
 * then rounding it again cannot go wrong. Source: Boldo and Melquiond, Emulation of a FMA (2008). */
INLINE float KIND(fuse_one)(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
    return __builtin_fmaf(a, b, c);
#else
    const double product = (double)a * (double)b, sum = product + (double)c, back = sum - product;
    const double rest = (product - (sum - back)) + ((double)c - back);
    double out;
    int64_t bits;
    memcpy(&bits, &sum, 8);
    if ((rest < 0 || rest > 0) && !(bits & 1)) bits += (rest > 0) == (sum > 0) ? 1 : -1;
    memcpy(&out, &bits, 8);
    return (float)out;
#endif
}

INLINE Part KIND(fuse)(Part a, Part b, Part c) {
    Part out;
    UNROLL for (int i = 0; i < PART_LANES; i++) out[i] = KIND(fuse_one)(a[i], b[i], c[i]);
    return out;
}

INLINE Part KIND(widen)(const uint16_t *at) {
    Part out;
    UNROLL for (int i = 0; i < PART_LANES; i++) out[i] = half(at[i]);
    return out;
}

/* Round to float16, to the nearest and to even in the middle. */
INLINE uint16_t KIND(to_half)(float x) {
    uint32_t bits, sign;
    float scaled;
    memcpy(&bits, &x, 4);
    sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (bits >= 0x47800000u) return (uint16_t)(sign | 0x7C00u); /* 65536 and more */
    if (bits < 0x38800000u) { /* below the normal numbers: adding 0.5 leaves multiples of 2^-24 */
        memcpy(&scaled, &bits, 4);
        scaled += 0.5f;
        memcpy(&bits, &scaled, 4);
        return (uint16_t)(sign | (bits - 0x3F000000u));
    }
    bits += 0xFFFu + (bits >> 13 & 1u);
    return (uint16_t)(sign | ((bits - 0x38000000u) >> 13));
}

typedef int16_t Shorts __attribute__((vector_size(16)));

INLINE Shorts KIND(bytes)(const uint8_t *at) {
    Shorts out;
    memcpy(&out, at, 16);
    return out;
}

/* Four numbers of a row, again and again, as bytes of shorts. */
INLINE Shorts KIND(fours)(const int8_t *x) {
    IntPart zero = {0};
    return (Shorts)(zero + KIND(four)(x));
}

/* Products of bytes, those of each two neighbours added. */
INLINE Shorts KIND(pairs)(Shorts quants, Shorts x) {
    return (quants << 8 >> 8) * (x << 8 >> 8) + (quants >> 8) * (x >> 8);
}

/* Neighbours added once more, in 32 bits. */
INLINE IntPart KIND(total)(Shorts pairs) { return ((IntPart)pairs << 16 >> 16) + ((IntPart)pairs >> 16); }

/* sums[row] = the quants of a block of 4 bits times a group of each of `count` rounded rows. */
INLINE void KIND(products4)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    EACH_PART {
        UNROLL for (int r = 0; r < count; r++) {
            Shorts pairs = {0}; /* 16 times 15 * 127 fit */
            UNROLL for (int i = 0; i < 4; i++) {
                const int8_t *x = in.quants + r * GROUP + 4 * i;
                Shorts packed = KIND(bytes)(block + 64 * i + 16 * p);
                pairs += KIND(pairs)(packed & 0x0F0F, KIND(fours)(x));
                pairs += KIND(pairs)(packed >> 4 & 0x0F0F, KIND(fours)(x + 16));
            }
            sums[r].part[p] = KIND(total)(pairs);
        }
    }
}

/* The same for a block of 8 bits, whose quants are stored 128 too high: turning the highest bit takes 128 away. */
INLINE void KIND(products8)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    EACH_PART {
        UNROLL for (int r = 0; r < count; r++) {
            IntPart total = {0};
            UNROLL for (int i = 0; i < 8; i++) {
                Shorts quants = KIND(bytes)(block + 64 * i + 16 * p) ^ (int16_t)0x8080;
                Shorts pairs = KIND(pairs)(quants, KIND(fours)(in.quants + r * GROUP + 4 * i));
                total += KIND(total)(pairs); /* two times 128 * 127 fit */
            }
            sums[r].part[p] = total;
        }
    }
}
