/* What is done to single rows of numbers: norm, rounding to 8 bits, exponentials, gates.
 *
 * Included by arithmetic.h for each kind of processor; all come to the same bits.
 */

INLINE Floats KIND(fused)(Floats a, Floats b, Floats c) {
    EACH_PART c.part[p] = KIND(fuse)(a.part[p], b.part[p], c.part[p]);
    return c;
}

INLINE Floats KIND(added)(Floats a, Floats b) {
    EACH_PART a.part[p] = a.part[p] + b.part[p];
    return a;
}

INLINE float KIND(sum)(Floats x) {
    float all[LANES], out = 0.0f;
    KIND(store)(all, x);
    for (int i = 0; i < LANES; i++) out += all[i];
    return out;
}

/* The largest size among 32 numbers. As whole numbers: what is no number is larger than all that are. */
INLINE float KIND(largest_size)(Floats x, Floats y) {
    int32_t all[LANES];
    float out;
    EACH_PART {
        IntPart a = (IntPart)x.part[p] & 0x7FFFFFFF, b = (IntPart)y.part[p] & 0x7FFFFFFF, is_larger = a > b;
        a = (a & is_larger) | (b & ~is_larger);
        memcpy(all + p * PART_LANES, &a, sizeof a);
    }
    UNROLL for (int width = LANES / 2; width; width /= 2)
        UNROLL for (int i = 0; i < width; i++) all[i] = all[i] > all[i + width] ? all[i] : all[i + width];
    memcpy(&out, all, 4);
    return out;
}

/* e^x for x <= 0 and not below -87 or so, where it becomes 0. Cody and Waite's reduction, then the polynomial of
 * degree 5 of Cephes' expf (https://www.netlib.org/cephes/). */
INLINE Part KIND(exponential)(Part x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to whole numbers */
    Part shifted = KIND(fuse)(x, KIND(spread)(1.44269504088896341f), KIND(spread)(magic));
    Part whole = shifted - magic, y;
    IntPart power, is_small = x < -87.0f;
    Part rest = KIND(fuse)(whole, KIND(spread)(-0.693359375f), x);
    rest = KIND(fuse)(whole, KIND(spread)(2.12194440e-4f), rest);
    y = KIND(fuse)(KIND(spread)(1.9875691500e-4f), rest, KIND(spread)(1.3981999507e-3f));
    y = KIND(fuse)(y, rest, KIND(spread)(8.3334519073e-3f));
    y = KIND(fuse)(y, rest, KIND(spread)(4.1665795894e-2f));
    y = KIND(fuse)(y, rest, KIND(spread)(1.6666665459e-1f));
    y = KIND(fuse)(y, rest, KIND(spread)(5.0000001201e-1f));
    y = KIND(fuse)(y, rest * rest, rest) + 1.0f;
    power = ((IntPart)shifted - (int32_t)0x4B400000) << 23;
    return (Part)(((IntPart)y + power) & ~is_small);
}

/* Round a group of 32 numbers to 8 bits: quant = x / scale, scale = largest / 127. */
static inline void KIND(round_group)(const float *x, int8_t *quants, float *scale, int32_t *sum) {
    const float most = KIND(largest_size)(KIND(load)(x), KIND(load)(x + LANES));
    const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    int32_t total = 0;
    *scale = most / 127.0f;
    for (int i = 0; i < GROUP; i++) {
        /* Adding 1.5 * 2^23 rounds to the nearest whole number, to even in the middle. */
        float shifted = x[i] * inverse + 12582912.0f;
        int32_t whole;
        memcpy(&whole, &shifted, 4);
        whole = whole - 0x4B400000;
        quants[i] = (int8_t)whole;
        total += (int8_t)whole;
    }
    *sum = total;
}

static void KIND(round_row)(const float *x, int64_t width, Rounded out, int64_t row) {
    const int64_t groups = width / GROUP;
    for (int64_t g = 0; g < groups; g++) {
        int64_t at = (row / TOGETHER * groups + g) * TOGETHER + row % TOGETHER;
        KIND(round_group)(x + g * GROUP, out.quants + at * GROUP, out.scales + at, out.sums + at);
        out.totals[at] = (float)out.sums[at];
    }
}

/* out = x / sqrt(mean(x^2) + epsilon) * weight. Source: Zhang and Sennrich (2019). */
static void KIND(norm_row)(const float *x, const float *weight, int64_t width, float epsilon, float *out) {
    Floats squares = KIND(spread_all)(0.0f);
    float factor;
    for (int64_t i = 0; i < width; i += LANES) {
        Floats part = KIND(load)(x + i);
        squares = KIND(fused)(part, part, squares);
    }
    factor = 1.0f / __builtin_sqrtf(KIND(sum)(squares) / (float)width + epsilon);
    for (int64_t i = 0; i < width; i += PART_LANES)
        KIND(store_part)(out + i, KIND(load_part)(x + i) * factor * KIND(load_part)(weight + i));
}

/* Turn one head by its position: number i pairs with i + head_dim / 2. Source: Su et al., RoFormer (2021). */
static inline void KIND(turn)(float *head, const float *cosines, const float *sines, int64_t half_dim) {
    for (int64_t i = 0; i < half_dim; i++) {
        float a = head[i], b = head[i + half_dim];
        head[i] = KIND(fuse_one)(a, cosines[i], -(b * sines[i]));
        head[i + half_dim] = KIND(fuse_one)(b, cosines[i], a * sines[i]);
    }
}

/* gate and up of a row become silu(gate) * up, in the first half. */
static void KIND(gate_row)(float *row, int64_t width) {
    for (int64_t i = 0; i < width; i += PART_LANES) {
        Part gate = KIND(load_part)(row + i), up = KIND(load_part)(row + width + i);
        IntPart is_negative = gate < 0.0f;
        Part size = (Part)((IntPart)gate & 0x7FFFFFFF);
        Part small = KIND(exponential)(-size); /* e^-|x|: never too large */
        Part above = (Part)(((IntPart)small & is_negative) | ((IntPart)KIND(spread)(1.0f) & ~is_negative));
        KIND(store_part)(row + i, gate * (above / (small + 1.0f)) * up);
    }
}

/* Round to bf16, so that a stage may end after any layer; return whether all numbers are finite. */
static int KIND(finish_row)(float *row, int64_t width) {
    Floats nothing = KIND(spread_all)(0.0f);
    for (int64_t i = 0; i < width; i += PART_LANES) {
        Part x = KIND(load_part)(row + i);
        IntPart bits = (IntPart)x;
        nothing.part[0] += x * 0.0f;
        bits = bits + 0x7FFF + ((bits >> 16) & 1);
        KIND(store_part)(row + i, (Part)(bits & (int32_t)0xFFFF0000));
    }
    return KIND(sum)(nothing) == 0.0f;
}
