/* Processors of ARM with 64 bits: a register takes 4 numbers. Included by kernels.c with KIND(name) set.
 *
 * With WITH_DOTPROD set too, those that have its one instruction for four products. Quants of 4 bits are the same
 * with a sign as without; in 8 bits, turning the highest bit takes 128 away.
 */

#define PARTS 4
#define ROWS_AT_ONCE 4
#define QUERIES_AT_ONCE 4
#define WEIGHED_AT_ONCE 16
#include "vectors.h"

INLINE Part KIND(fuse)(Part a, Part b, Part c) {
    return (Part)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

INLINE Part KIND(widen)(const uint16_t *at) { return (Part)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))); }

INLINE float KIND(fuse_one)(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

INLINE uint16_t KIND(to_half)(float x) {
    return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0);
}

/* Sums of products of quants, 4 rows by 4 columns, and a row's fours: both parts together are the sums. */
#define Dots KIND(Dots)
typedef struct {
    int32x4_t one, other;
} Dots;

INLINE int8x16_t KIND(bytes)(const uint8_t *at) { return vreinterpretq_s8_u8(vld1q_u8(at)); }

INLINE int8x16_t KIND(fours)(const int8_t *x) { return vreinterpretq_s8_s32(vdupq_n_s32(KIND(four)(x))); }

INLINE Dots KIND(dot)(Dots sums, int8x16_t a, int8x16_t x, int8x16_t b, int8x16_t y) {
#if defined(WITH_DOTPROD)
    Dots out = {vdotq_s32(sums.one, a, x), vdotq_s32(sums.other, b, y)};
#else /* two products of at most 128 * 127 fit 16 bits */
    int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(x)), vget_low_s8(b), vget_low_s8(y));
    int16x8_t high = vmlal_high_s8(vmull_high_s8(a, x), b, y);
    Dots out = {vpadalq_s16(sums.one, low), vpadalq_s16(sums.other, high)};
#endif
    return out;
}

INLINE IntPart KIND(total)(Dots sums) {
#if defined(WITH_DOTPROD)
    return (IntPart)vaddq_s32(sums.one, sums.other);
#else
    return (IntPart)vpaddq_s32(sums.one, sums.other);
#endif
}

/* sums[row] = the quants of a block of 4 bits times a group of each of `count` rounded rows. */
INLINE void KIND(products4)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const Dots nothing = {vdupq_n_s32(0), vdupq_n_s32(0)};
    EACH_PART {
        Dots totals[ROWS_AT_ONCE];
        UNROLL for (int r = 0; r < count; r++) totals[r] = nothing;
        UNROLL for (int i = 0; i < 4; i++) {
            uint8x16_t packed = vld1q_u8(block + 64 * i + 16 * p);
            int8x16_t first = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(15)));
            int8x16_t second = vreinterpretq_s8_u8(vshrq_n_u8(packed, 4));
            UNROLL for (int r = 0; r < count; r++) {
                const int8_t *x = in.quants + r * GROUP + 4 * i;
                totals[r] = KIND(dot)(totals[r], first, KIND(fours)(x), second, KIND(fours)(x + 16));
            }
        }
        UNROLL for (int r = 0; r < count; r++) sums[r].part[p] = KIND(total)(totals[r]);
    }
}

/* The same for a block of 8 bits, whose quants are stored 128 too high. */
INLINE void KIND(products8)(const uint8_t *block, Rounded in, const int count, Ints *sums) {
    const Dots nothing = {vdupq_n_s32(0), vdupq_n_s32(0)};
    const int8x16_t high = vdupq_n_s8(-128);
    EACH_PART {
        Dots totals[ROWS_AT_ONCE];
        UNROLL for (int r = 0; r < count; r++) totals[r] = nothing;
        UNROLL for (int i = 0; i < 8; i += 2) {
            int8x16_t first = veorq_s8(KIND(bytes)(block + 64 * i + 16 * p), high);
            int8x16_t second = veorq_s8(KIND(bytes)(block + 64 * i + 64 + 16 * p), high);
            UNROLL for (int r = 0; r < count; r++) {
                const int8_t *x = in.quants + r * GROUP + 4 * i;
                totals[r] = KIND(dot)(totals[r], first, KIND(fours)(x), second, KIND(fours)(x + 4));
            }
        }
        UNROLL for (int r = 0; r < count; r++) sums[r].part[p] = KIND(total)(totals[r]);
    }
}
#undef Dots
