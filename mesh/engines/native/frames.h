/* What a caller and the kernels exchange, and how it lies in memory. kernels.py has the same structures.
 *
 * Owns sizes and the layout of scratch. Must not know how anything is computed.
 */

#define LANES 16
#define GROUP 32
#define BLOCK4_BYTES (256 + 32 + 32)
#define BLOCK8_BYTES (512 + 32)
#define TOGETHER 8 /* rows that lie together once they are rounded */
#define MAX_QUERIES 8 /* that attend together */
#define ATTENDING_ROWS 32 /* of a segment that one thread takes at a time */
#define FEW_ROWS 4 /* which one thread brings to norm or gate before another has begun */

typedef struct {
    const uint8_t *blocks;
    int64_t num_rows; /* a multiple of 16 */
    int64_t num_columns;
    int64_t bits;
} Matrix;

typedef struct {
    const float *attention_norm;
    const float *bias; /* of q, k and v together, or NULL */
    const float *query_norm; /* of each head, or NULL */
    const float *key_norm;
    const float *feed_forward_norm;
    Matrix query_key_value;
    Matrix attention_output;
    Matrix gate_up;
    Matrix down;
} Layer;

typedef struct {
    int64_t num_layers, hidden, num_heads, num_kv_heads, head_dim, intermediate;
    double epsilon;
    const Layer *layers;
} Stage;

typedef struct { /* rows of one session */
    int64_t num_rows;
    int64_t start; /* position of the first */
    int64_t capacity; /* positions of the cache, a multiple of 16 */
    uint16_t *keys; /* [layers][kv_heads][capacity / 16][head_dim][16] float16 */
    uint16_t *values; /* [layers][kv_heads][capacity][head_dim] float16 */
} Segment;

typedef struct {
    const Stage *stage;
    const Segment *segments;
    int64_t num_segments;
    int64_t num_rows;
    float *hidden; /* [rows, hidden], in and out */
    const float *cosines, *sines; /* [positions, head_dim / 2] */
    int32_t *bad_layers; /* [rows]: 1 + the first layer after which a row is not finite, 0 where all are */
    uint8_t *scratch; /* mesh_scratch_bytes of them */
    int64_t num_threads;
} Frame;

typedef struct { /* rows rounded to 8 bits by groups; eight lie together */
    int8_t *quants; /* [rows / 8, groups, 8, 32] */
    float *scales; /* [rows / 8, groups, 8] */
    int32_t *sums; /* of the quants of each group, as the scales lie */
    float *totals; /* the same as floating point */
} Rounded;

static inline int64_t padded(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

static inline int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static inline int64_t smallest(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t widest(const Stage *s) {
    return largest(largest(s->hidden, s->num_heads * s->head_dim), s->intermediate);
}

/* Bytes of what a call writes down on the way; each part begins on a border of 64. */
static int64_t joint_bytes(const Stage *s, int64_t rows) {
    int64_t joint = (s->num_heads + 2 * s->num_kv_heads) * s->head_dim;
    return padded(rows * padded(largest(joint, 2 * s->intermediate), LANES) * 4, 64);
}

static int64_t mixed_bytes(const Stage *s, int64_t rows) {
    return padded(rows * padded(largest(s->hidden, s->num_heads * s->head_dim), LANES) * 4, 64);
}

static int64_t scores_bytes(int64_t max_positions) {
    return padded(MAX_QUERIES * padded(max_positions, LANES) * 4, 64);
}

static int64_t rounded_bytes(int64_t rows, int64_t width) {
    int64_t filled = padded(rows, TOGETHER);
    return padded(filled * width, 64) + 3 * padded(filled * (width / GROUP) * 4, 64);
}

int64_t mesh_scratch_bytes(const Stage *s, int64_t rows, int64_t max_positions, int64_t num_threads) {
    return joint_bytes(s, rows) + mixed_bytes(s, rows) + rounded_bytes(rows, widest(s)) +
           num_threads * scores_bytes(max_positions);
}

static Rounded rounded_at(uint8_t *at, int64_t rows, int64_t width) {
    int64_t filled = padded(rows, TOGETHER), groups = width / GROUP;
    Rounded r;
    r.quants = (int8_t *)at;
    r.scales = (float *)(at + padded(filled * width, 64));
    r.sums = (int32_t *)((uint8_t *)r.scales + padded(filled * groups * 4, 64));
    r.totals = (float *)((uint8_t *)r.sums + padded(filled * groups * 4, 64));
    return r;
}

static Rounded rows_from(Rounded all, int64_t row, int64_t groups) {
    int64_t at = row / TOGETHER * TOGETHER * groups + row % TOGETHER;
    Rounded r = {all.quants + at * GROUP, all.scales + at, all.sums + at, all.totals + at};
    return r;
}
