/* Attention of rows to their own sessions' caches. Included by arithmetic.h for each kind of processor.
 *
 * Some queries of one key-value head go together, so that keys and values are read once for all of them; what
 * each comes to is the same as alone.
 */

/* Bring a row's heads of q and k to their position, and its key and value to the cache. */
static void KIND(prepare_row)(const Pass *pass, const Segment *s, int64_t position, float *row) {
    const Stage *stage = pass->frame->stage;
    const Layer *l = stage->layers + pass->layer;
    const int64_t dim = stage->head_dim, heads = stage->num_heads, kv_heads = stage->num_kv_heads;
    const float *cosines = pass->frame->cosines + position * (dim / 2);
    const float *sines = pass->frame->sines + position * (dim / 2);
    if (l->bias)
        for (int64_t i = 0; i < (heads + 2 * kv_heads) * dim; i++) row[i] += l->bias[i];
    for (int64_t h = 0; h < heads + kv_heads; h++) {
        const float *norm = h < heads ? l->query_norm : l->key_norm;
        float *head = row + h * dim;
        if (norm) KIND(norm_row)(head, norm, dim, (float)stage->epsilon, head);
        KIND(turn)(head, cosines, sines, dim / 2);
    }
    for (int64_t h = 0; h < kv_heads; h++) {
        const int64_t base = (pass->layer * kv_heads + h) * s->capacity * dim;
        uint16_t *key = s->keys + base + position / LANES * dim * LANES + position % LANES;
        uint16_t *value = s->values + base + position * dim;
        for (int64_t i = 0; i < dim; i++) {
            key[i * LANES] = KIND(to_half)(row[(heads + h) * dim + i]);
            value[i] = KIND(to_half)(row[(heads + kv_heads + h) * dim + i]);
        }
    }
}

/* Scores of some queries with 16 keys at a time. */
INLINE void KIND(score)(Attending a, const int count) {
    for (int64_t b = 0; b < a.stride / LANES; b++) {
        const uint16_t *block = a.keys + b * a.dim * LANES;
        Floats sums[QUERIES_AT_ONCE];
        UNROLL for (int q = 0; q < count; q++) sums[q] = KIND(spread_all)(0.0f);
        for (int64_t i = 0; i < a.dim; i++)
            EACH_PART {
                Part key = KIND(widen)(block + i * LANES + p * PART_LANES);
                UNROLL for (int q = 0; q < count; q++)
                    sums[q].part[p] = KIND(fuse)(KIND(spread)(a.queries[q][i]), key, sums[q].part[p]);
            }
        UNROLL for (int q = 0; q < count; q++) KIND(store)(a.scores + q * a.stride + b * LANES, sums[q]);
    }
}

INLINE float KIND(largest)(Floats x) {
    float all[LANES], out;
    KIND(store)(all, x);
    out = all[0];
    for (int i = 1; i < LANES; i++) out = all[i] > out ? all[i] : out;
    return out;
}

/* Make scores of `num_keys` keys weights of at most 1; return what they add up to. */
static float KIND(soften)(float *scores, int64_t num_keys, float factor) {
    const int64_t end = padded(num_keys, LANES);
    Floats most, sums = KIND(spread_all)(0.0f);
    float top;
    for (int64_t j = num_keys; j < end; j++) scores[j] = -INFINITY;
    most = KIND(load)(scores);
    for (int64_t j = LANES; j < end; j += LANES)
        EACH_PART most.part[p] = KIND(larger)(KIND(load_part)(scores + j + p * PART_LANES), most.part[p]);
    top = KIND(largest)(most);
    for (int64_t j = 0; j < end; j += LANES)
        EACH_PART {
            float *at = scores + j + p * PART_LANES;
            Part weights = KIND(exponential)((KIND(load_part)(at) - top) * factor);
            KIND(store_part)(at, weights);
            sums.part[p] += weights;
        }
    return KIND(sum)(sums);
}

/* Add weighted values of some keys to 16 times `width` numbers, from `at` on, of the outputs of some queries. */
INLINE void KIND(weigh)(Attending a, const int count, Range keys, int64_t at, const int width) {
    Floats sums[4][WEIGHED_AT_ONCE / LANES];
    UNROLL for (int q = 0; q < count; q++)
        UNROLL for (int w = 0; w < width; w++) sums[q][w] = KIND(load)(a.outs[q] + at + w * LANES);
    for (int64_t j = keys.from; j < keys.to; j++) {
        Floats values[WEIGHED_AT_ONCE / LANES];
        UNROLL for (int w = 0; w < width; w++)
            EACH_PART values[w].part[p] = KIND(widen)(a.values + j * a.dim + at + w * LANES + p * PART_LANES);
        UNROLL for (int q = 0; q < count; q++) {
            Part weight = KIND(spread)(a.scores[q * a.stride + j]);
            UNROLL for (int w = 0; w < width; w++)
                EACH_PART sums[q][w].part[p] = KIND(fuse)(weight, values[w].part[p], sums[q][w].part[p]);
        }
    }
    UNROLL for (int q = 0; q < count; q++)
        UNROLL for (int w = 0; w < width; w++) KIND(store)(a.outs[q] + at + w * LANES, sums[q][w]);
}

static void KIND(weigh_some)(Attending a, int count, Range keys) {
    const int width = WEIGHED_AT_ONCE / LANES;
    int64_t at = 0;
    for (; a.dim - at >= WEIGHED_AT_ONCE; at += WEIGHED_AT_ONCE) {
        if (count == 4)
            KIND(weigh)(a, 4, keys, at, width);
        else if (count == 3)
            KIND(weigh)(a, 3, keys, at, width);
        else
            for (int q = 0; q < count; q++) KIND(weigh)(from_query(a, q), 1, keys, at, width);
    }
    for (; at < a.dim; at += LANES)
        for (int q = 0; q < count; q++) KIND(weigh)(from_query(a, q), 1, keys, at, 1);
}

static void KIND(score_some)(Attending a, int count) {
#if QUERIES_AT_ONCE >= 8
    if (count == 8) {
        KIND(score)(a, 8);
        return;
    }
#endif
    if (count == 4)
        KIND(score)(a, 4);
    else if (count == 3)
        KIND(score)(a, 3);
    else
        for (int q = 0; q < count; q++) KIND(score)(from_query(a, q), 1);
}

/* Attend with some queries of one key-value head; query q sees `lengths[q]` keys. */
static void KIND(attend)(Attending a, int count) {
    const float factor = 1.0f / __builtin_sqrtf((float)a.dim);
    float totals[MAX_QUERIES];
    KIND(score_some)(a, count);
    for (int q = 0; q < count; q++) {
        totals[q] = KIND(soften)(a.scores + q * a.stride, a.lengths[q], factor);
        memset(a.outs[q], 0, (size_t)a.dim * 4);
    }
    for (int q = 0; q < count; q += 4) {
        const int some = count - q < 4 ? count - q : 4;
        const Range shared = {0, a.lengths[q]};
        KIND(weigh_some)(from_query(a, q), some, shared);
        for (int i = 1; i < some; i++) { /* lengths never fall: what the first does not see, the others may */
            const Range own = {a.lengths[q], a.lengths[q + i]};
            KIND(weigh_some)(from_query(a, q + i), 1, own);
        }
    }
    for (int q = 0; q < count; q++)
        for (int64_t i = 0; i < a.dim; i++) a.outs[q][i] = a.outs[q][i] / totals[q];
}

/* One key-value head of some rows of a segment: their query heads, some at a time. */
static void KIND(attend_rows)(const Pass *pass, const Place *place, Range rows, int64_t kv_head, float *scores) {
    const Stage *stage = pass->frame->stage;
    const Segment *s = place->segment;
    const int64_t dim = stage->head_dim, group = stage->num_heads / stage->num_kv_heads;
    const int64_t base = (pass->layer * stage->num_kv_heads + kv_head) * s->capacity * dim;
    for (int64_t first = rows.from * group; first < rows.to * group;) {
        const float *queries[MAX_QUERIES];
        float *outs[MAX_QUERIES];
        int64_t lengths[MAX_QUERIES], left = rows.to * group - first;
        const int count = left >= QUERIES_AT_ONCE ? QUERIES_AT_ONCE : left >= 4 ? 4 : (int)left;
        for (int q = 0; q < count; q++) {
            const int64_t row = (first + q) / group, head = kv_head * group + (first + q) % group;
            queries[q] = pass->joint + (place->first + row) * pass->stride + head * dim;
            outs[q] = pass->mixed + ((place->first + row) * stage->num_heads + head) * dim;
            lengths[q] = s->start + row + 1;
        }
        Attending a = {s->keys + base, s->values + base, dim, padded(lengths[count - 1], LANES),
                       queries, outs, lengths, scores};
        KIND(attend)(a, count);
        first += count;
    }
}

/* The work of bringing rows to their positions: rows [from, to) of the frame. */
static void KIND(prepare_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    (void)member;
    for (int64_t r = from; r < to; r++) {
        const Place place = place_of(pass->frame, r, 1);
        const int64_t position = place.segment->start + r - place.first;
        KIND(prepare_row)(pass, place.segment, position, pass->joint + r * pass->stride);
    }
}

/* The work of attention. A unit is one key-value head of up to ATTENDING_ROWS rows of a segment. */
static void KIND(attend_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    const int64_t heads = pass->frame->stage->num_kv_heads;
    float *scores = (float *)(pass->scores + member * pass->score_bytes);
    for (int64_t unit = from; unit < to; unit++) {
        const Place place = place_of(pass->frame, unit / heads, ATTENDING_ROWS);
        const int64_t first = (unit / heads - place.first_unit) * ATTENDING_ROWS;
        const Range rows = {first, smallest(first + ATTENDING_ROWS, place.segment->num_rows)};
        KIND(attend_rows)(pass, &place, rows, unit % heads, scores);
    }
}
