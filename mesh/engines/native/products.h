/* Products of matrices and rounded rows. Included by arithmetic.h for each kind of processor.
 *
 * Sums of integers are exact in any order, so each kind makes them as it is fast. What is done in floating
 * point goes group by group, for each number alone.
 */

/* 16 rows of a matrix of 4 bits times some rounded rows, whose count the compiler knows. */
INLINE void KIND(tile4)(const uint8_t *block, int64_t groups, Rounded in, const int count, Floats *out) {
    for (int64_t g = 0; g < groups; g++, block += BLOCK4_BYTES) {
        Ints sums[ROWS_AT_ONCE];
        KIND(products4)(block, group_of(in, g), count, sums);
        EACH_PART {
            Part scale = KIND(widen)((const uint16_t *)(block + 256) + p * PART_LANES);
            Part minimum = KIND(widen)((const uint16_t *)(block + 288) + p * PART_LANES);
            UNROLL for (int r = 0; r < count; r++) {
                float factor = in.scales[g * TOGETHER + r], total = in.totals[g * TOGETHER + r];
                Part product = __builtin_convertvector(sums[r].part[p], Part) * scale;
                product = KIND(fuse)(minimum, KIND(spread)(total), product);
                out[r].part[p] = KIND(fuse)(product, KIND(spread)(factor), out[r].part[p]);
            }
        }
    }
}

INLINE void KIND(tile8)(const uint8_t *block, int64_t groups, Rounded in, const int count, Floats *out) {
    for (int64_t g = 0; g < groups; g++, block += BLOCK8_BYTES) {
        Ints sums[ROWS_AT_ONCE];
        KIND(products8)(block, group_of(in, g), count, sums);
        EACH_PART {
            Part scale = KIND(widen)((const uint16_t *)(block + 512) + p * PART_LANES);
            UNROLL for (int r = 0; r < count; r++) {
                Part product = __builtin_convertvector(sums[r].part[p], Part) * scale;
                Part factor = KIND(spread)(in.scales[g * TOGETHER + r]);
                out[r].part[p] = KIND(fuse)(product, factor, out[r].part[p]);
            }
        }
    }
}

INLINE void KIND(tile)(const Product *p, const uint8_t *block, int64_t first, const int count, int64_t column) {
    const int64_t groups = p->matrix->num_columns / GROUP;
    Rounded in = rows_from(p->in, first, groups);
    Floats results[ROWS_AT_ONCE];
    UNROLL for (int r = 0; r < count; r++) results[r] = KIND(spread_all)(0.0f);
    if (p->matrix->bits == 4)
        KIND(tile4)(block, groups, in, count, results);
    else
        KIND(tile8)(block, groups, in, count, results);
    UNROLL for (int r = 0; r < count; r++) {
        float *at = p->out + (first + r) * p->stride + column;
        if (p->adds) results[r] = KIND(added)(KIND(load)(at), results[r]);
        KIND(store)(at, results[r]);
    }
}

/* The work of a product: blocks [from, to) of 16 rows of the matrix. */
static void KIND(multiply_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Product *p = what;
    const int64_t bytes = p->matrix->num_columns / GROUP * (p->matrix->bits == 4 ? BLOCK4_BYTES : BLOCK8_BYTES);
    (void)member;
    for (int64_t b = from; b < to; b++) {
        const uint8_t *block = p->matrix->blocks + b * bytes;
        int64_t row = 0;
#if ROWS_AT_ONCE >= 8
        for (; p->rows - row >= 8; row += 8) KIND(tile)(p, block, row, 8, b * LANES);
#endif
#if ROWS_AT_ONCE >= 4
        for (; p->rows - row >= 4; row += 4) KIND(tile)(p, block, row, 4, b * LANES);
#endif
        for (; p->rows - row >= 2; row += 2) KIND(tile)(p, block, row, 2, b * LANES);
        for (; p->rows - row >= 1; row += 1) KIND(tile)(p, block, row, 1, b * LANES);
    }
}
