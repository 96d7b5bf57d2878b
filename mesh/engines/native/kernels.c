/* A stage of a network of the Llama kind on a processor: norm, products, rotary turn, attention.
 *
 * Owns the arithmetic of whole frames, for rows of many sessions at once. Must not know files, messages or
 * how memory is allotted: every pointer comes from the caller, and nothing is kept between two calls.
 *
 * frames.h has what comes in, team.h the threads, arithmetic.h the way through the layers. Each kind of processor
 * has a header of its own for the few steps that it has instructions for; all kinds come to the same bits.
 *
 * What a row comes to depends on that row and its own session's cache alone, to the bit: not on the rows
 * beside it, on how a prompt was cut, or on the number of threads. Products of weights and activations are
 * sums of integers, whose order does not matter. All that is done in floating point has one order for each
 * row, fused multiplications are spelled out, and the compiler may form no others (-ffp-contract=off).
 *
 * A matrix lies in blocks of 16 rows by 32 columns. A block of 4 bits: 256 bytes of quants, 16 scales, 16
 * minima (float16); weight = quant * scale + minimum. A block of 8 bits: 512 bytes of quants, 16 scales;
 * weight = (quant - 128) * scale. Quants go by fours of columns, row after row: what one instruction of
 * VNNI takes. In 4 bits, fours 0 to 3 lie in the low halves of bytes and fours 4 to 7 in the high halves.
 */

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if FLT_EVAL_METHOD != 0
#error "floating point that is wider than its type comes to other bits"
#endif

#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__) /* which knows neither of GCC's pragmas */
#define UNROLL _Pragma("clang loop unroll(full)")
#define TARGET_BEGIN(features) \
    PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END PRAGMA(clang attribute pop)
#else
#define UNROLL _Pragma("GCC unroll 16")
#define TARGET_BEGIN(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define TARGET_END PRAGMA(GCC pop_options)
#endif
#define INLINE static inline __attribute__((always_inline, unused))

/* Instructions that older compilers do not know. */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAS_AVX_VNNI
#elif defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define HAS_DOTPROD
#endif

#include "frames.h"
#include "team.h"
#include "pass.h"

/* Widen float16. */
static inline float half(uint16_t x) {
    const uint32_t sign = (x & 0x8000u) << 16, exponent = x >> 10 & 31, mantissa = x & 1023;
    uint32_t bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | mantissa << 13;
    float out;
    if (exponent == 0) { /* zero, or below the normal numbers: mantissa * 2^-24 */
        out = (float)mantissa * 5.9604644775390625e-8f;
        return sign ? -out : out;
    }
    memcpy(&out, &bits, 4);
    return out;
}

/* The same arithmetic for each kind of processor. */
enum { ANY = 0, AVX2 = 1, AVX512_VNNI = 2, NEON = 3, AVX_VNNI = 4, NEON_DOTPROD = 5, NUM_KINDS = 6 };

#define KIND(name) name##_any
#include "portable.h"
#include "arithmetic.h"
#undef KIND

#if defined(__x86_64__)

TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
#define KIND(name) name##_avx512_vnni
#include "avx512.h"
#include "arithmetic.h"
#undef KIND
TARGET_END

TARGET_BEGIN("avx2,fma,f16c")
#define KIND(name) name##_avx2
#include "avx2.h"
#include "arithmetic.h"
#undef KIND
TARGET_END

#if defined(HAS_AVX_VNNI)
TARGET_BEGIN("avxvnni,avx2,fma,f16c")
#define KIND(name) name##_avx_vnni
#define WITH_AVX_VNNI
#include "avx2.h"
#include "arithmetic.h"
#undef WITH_AVX_VNNI
#undef KIND
TARGET_END
#endif

static const Arithmetic *const ARITHMETIC[NUM_KINDS] = {
    [ANY] = &arithmetic_any,
    [AVX2] = &arithmetic_avx2,
    [AVX512_VNNI] = &arithmetic_avx512_vnni,
#if defined(HAS_AVX_VNNI)
    [AVX_VNNI] = &arithmetic_avx_vnni,
#endif
};

#elif defined(__aarch64__)

#define KIND(name) name##_neon
#include "neon.h"
#include "arithmetic.h"
#undef KIND

#if defined(HAS_DOTPROD)
TARGET_BEGIN("arch=armv8.2-a+dotprod")
#define KIND(name) name##_neon_dotprod
#define WITH_DOTPROD
#include "neon.h"
#include "arithmetic.h"
#undef WITH_DOTPROD
#undef KIND
TARGET_END
#endif

static const Arithmetic *const ARITHMETIC[NUM_KINDS] = {
    [ANY] = &arithmetic_any,
    [NEON] = &arithmetic_neon,
#if defined(HAS_DOTPROD)
    [NEON_DOTPROD] = &arithmetic_neon_dotprod,
#endif
};

#else

static const Arithmetic *const ARITHMETIC[NUM_KINDS] = {[ANY] = &arithmetic_any};

#endif

#if defined(__x86_64__)
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int has_avx_vnni(void) { /* not all compilers know its name */
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

static int has_avx512_vnni(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#elif defined(HAS_DOTPROD)
static int has_dotprod(void) {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__ARM_FEATURE_DOTPROD)
    return 1;
#else
    return 0;
#endif
}
#endif

/* Whether this processor runs a kind. */
int64_t mesh_runs(int64_t kind) {
    if (kind < 0 || kind >= NUM_KINDS || !ARITHMETIC[kind]) return 0;
#if defined(__x86_64__)
    if (kind == AVX2) return has_avx2();
    if (kind == AVX_VNNI) return has_avx_vnni();
    if (kind == AVX512_VNNI) return has_avx512_vnni();
#elif defined(HAS_DOTPROD)
    if (kind == NEON_DOTPROD) return has_dotprod();
#endif
    return 1;
}

/* The fastest kind that this processor runs. */
int64_t mesh_best_kind(void) {
    static const int64_t order[] = {AVX512_VNNI, AVX_VNNI, AVX2, NEON_DOTPROD, NEON};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (mesh_runs(order[i])) return order[i];
    return ANY;
}

/* Lay out the memory of a pass; return what is left. */
static uint8_t *lay_out(Pass *pass, uint8_t *scratch) {
    const Stage *s = pass->frame->stage;
    const int64_t rows = pass->frame->num_rows, width = widest(s);
    pass->mixed = (float *)scratch;
    pass->in = rounded_at(scratch + mixed_bytes(s, rows), rows, width);
    return scratch + mixed_bytes(s, rows) + rounded_bytes(rows, width);
}

void mesh_forward(const Frame *frame, int64_t kind) {
    Team team;
    Pass pass = {.frame = frame, .team = &team};
    uint8_t *left = lay_out(&pass, frame->scratch);
    int64_t longest = 0;
    for (int64_t i = 0; i < frame->num_segments; i++)
        longest = largest(longest, frame->segments[i].start + frame->segments[i].num_rows);
    pass.joint = (float *)left;
    pass.scores = left + joint_bytes(frame->stage, frame->num_rows);
    pass.score_bytes = scores_bytes(longest);
    team_begin(&team, frame->num_threads);
    ARITHMETIC[kind]->forward(&pass);
    team_end(&team);
}

/* Score rows [rows, hidden] against a table: [rows, padded vocabulary]; sizes = {rows, threads}. */
void mesh_logits(const Stage *s, const Matrix *head, const float *norm, const float *hidden, float *scores,
                 const int64_t *sizes, uint8_t *scratch, int64_t kind) {
    Team team;
    const Frame frame = {.stage = s, .num_rows = sizes[0], .hidden = (float *)hidden};
    Pass pass = {.frame = &frame, .team = &team, .mixed = (float *)scratch, .norm = norm};
    pass.in = rounded_at(scratch + padded(sizes[0] * s->hidden * 4, 64), sizes[0], s->hidden);
    team_begin(&team, sizes[1]);
    ARITHMETIC[kind]->logits(&pass, head, scores);
    team_end(&team);
}

/* Look up tokens in a table of 8 bits: [tokens, hidden]. */
void mesh_embed(const Matrix *table, const int64_t *ids, int64_t num_ids, float *hidden) {
    int64_t groups = table->num_columns / GROUP;
    for (int64_t i = 0; i < num_ids; i++) {
        const uint8_t *block = table->blocks + ids[i] / LANES * groups * BLOCK8_BYTES;
        int64_t lane = ids[i] % LANES;
        for (int64_t g = 0; g < groups; g++, block += BLOCK8_BYTES) {
            float scale = half(((const uint16_t *)(block + 512))[lane]);
            for (int64_t c = 0; c < GROUP; c++)
                hidden[i * table->num_columns + g * GROUP + c] =
                    (float)((int)block[c / 4 * 64 + lane * 4 + c % 4] - 128) * scale;
        }
    }
}
