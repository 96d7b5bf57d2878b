/* A frame on its way through a stage: what the kernels of all kinds of processors hand to each other.
 *
 * Owns which rows and heads a unit of work stands for. Must not know arithmetic.
 */

typedef struct {
    int64_t from, to;
} Range;

typedef struct { /* rows times a matrix: out [rows, stride] */
    const Matrix *matrix;
    Rounded in;
    int64_t rows;
    float *out;
    int64_t stride;
    int adds; /* to what is there */
} Product;

typedef struct { /* queries of one key-value head */
    const uint16_t *keys, *values;
    int64_t dim;
    int64_t stride; /* of scores [queries, stride] */
    const float *const *queries;
    float *const *outs;
    const int64_t *lengths; /* keys that each sees */
    float *scores;
} Attending;

typedef struct { /* a frame on its way through the layers */
    const Frame *frame;
    Team *team;
    float *joint; /* [rows, stride] q, k and v, or gate and up */
    float *mixed; /* [rows, width] what attention comes to, or rows after a norm */
    Rounded in; /* rows before a product */
    uint8_t *scores; /* of attention, score_bytes for each thread */
    int64_t score_bytes;
    int64_t layer;
    int64_t stride;
    const float *norm; /* the next one's weights */
} Pass;

typedef struct { /* of a unit of work among the segments */
    const Segment *segment;
    int64_t first; /* row of the segment, in the frame */
    int64_t first_unit;
} Place;

typedef struct { /* of one kind of processor */
    void (*forward)(Pass *pass);
    void (*logits)(Pass *pass, const Matrix *table, float *scores);
} Arithmetic;

/* One group of eight rows. */
static inline Rounded group_of(Rounded rows, int64_t group) {
    const int64_t at = group * TOGETHER;
    Rounded r = {rows.quants + at * GROUP, rows.scales + at, rows.sums + at, rows.totals + at};
    return r;
}

static inline Attending from_query(Attending a, int query) {
    a.queries += query;
    a.outs += query;
    a.lengths += query;
    a.scores += query * a.stride;
    return a;
}

/* Where a unit of `rows` rows lies, each segment's being counted from its own first row. */
static Place place_of(const Frame *f, int64_t unit, int64_t rows) {
    Place place = {f->segments, 0, 0};
    for (;;) {
        const int64_t next = place.first_unit + padded(place.segment->num_rows, rows) / rows;
        if (unit < next) return place;
        place.first += place.segment->num_rows;
        place.first_unit = next;
        place.segment++;
    }
}

static int64_t attending_units(const Frame *f) {
    int64_t units = 0;
    for (int64_t i = 0; i < f->num_segments; i++)
        units += padded(f->segments[i].num_rows, ATTENDING_ROWS) / ATTENDING_ROWS;
    return units * f->stage->num_kv_heads;
}

static void for_rows(const Pass *pass, Work *work) {
    if (pass->frame->num_rows <= FEW_ROWS)
        work(pass, 0, pass->frame->num_rows, 0);
    else
        team_run(pass->team, work, pass, pass->frame->num_rows);
}
