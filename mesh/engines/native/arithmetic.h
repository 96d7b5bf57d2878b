/* The arithmetic of a stage: one text for all kinds of processors.
 *
 * Included by kernels.c once for each kind, after that kind's header, with KIND(name) set. Every kind comes to
 * the same bits: integers are exact, and each step in floating point is the same one.
 */

#include "rows.h"
#include "products.h"
#include "attention.h"

/* out [rows, stride] = the rounded rows times the matrix; with `adds`, added to what is there. */
static void KIND(multiply)(const Pass *pass, const Matrix *matrix, float *out, int64_t stride, int adds) {
    const Product product = {matrix, pass->in, pass->frame->num_rows, out, stride, adds};
    team_run(pass->team, KIND(multiply_some), &product, matrix->num_rows / LANES);
}

/* Norm rows of the hidden states with the pass's norm, and round them. */
static void KIND(norm_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    const int64_t width = pass->frame->stage->hidden;
    (void)member;
    for (int64_t r = from; r < to; r++) {
        float *normed = pass->mixed + r * width;
        KIND(norm_row)(pass->frame->hidden + r * width, pass->norm, width, (float)pass->frame->stage->epsilon, normed);
        KIND(round_row)(normed, width, pass->in, r);
    }
}

static void KIND(round_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    const int64_t width = pass->frame->stage->num_heads * pass->frame->stage->head_dim;
    (void)member;
    for (int64_t r = from; r < to; r++) KIND(round_row)(pass->mixed + r * width, width, pass->in, r);
}

static void KIND(gate_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    const int64_t width = pass->frame->stage->intermediate;
    (void)member;
    for (int64_t r = from; r < to; r++) {
        KIND(gate_row)(pass->joint + r * pass->stride, width);
        KIND(round_row)(pass->joint + r * pass->stride, width, pass->in, r);
    }
}

static void KIND(finish_some)(const void *what, int64_t from, int64_t to, int64_t member) {
    const Pass *pass = what;
    const int64_t width = pass->frame->stage->hidden;
    (void)member;
    for (int64_t r = from; r < to; r++) {
        int32_t *bad_layer = pass->frame->bad_layers + r;
        const int is_finite = KIND(finish_row)(pass->frame->hidden + r * width, width);
        if (!is_finite && !*bad_layer) *bad_layer = (int32_t)pass->layer + 1;
    }
}

static void KIND(attention)(Pass *pass, const Layer *l) {
    pass->stride = l->query_key_value.num_rows;
    pass->norm = l->attention_norm;
    for_rows(pass, KIND(norm_some));
    KIND(multiply)(pass, &l->query_key_value, pass->joint, pass->stride, 0);
    for_rows(pass, KIND(prepare_some));
    team_run(pass->team, KIND(attend_some), pass, attending_units(pass->frame));
    for_rows(pass, KIND(round_some));
    KIND(multiply)(pass, &l->attention_output, pass->frame->hidden, pass->frame->stage->hidden, 1);
}

static void KIND(feed_forward)(Pass *pass, const Layer *l) {
    pass->stride = l->gate_up.num_rows;
    pass->norm = l->feed_forward_norm;
    for_rows(pass, KIND(norm_some));
    KIND(multiply)(pass, &l->gate_up, pass->joint, pass->stride, 0);
    for_rows(pass, KIND(gate_some));
    KIND(multiply)(pass, &l->down, pass->frame->hidden, pass->frame->stage->hidden, 1);
    for_rows(pass, KIND(finish_some));
}

static void KIND(forward)(Pass *pass) {
    for (pass->layer = 0; pass->layer < pass->frame->stage->num_layers; pass->layer++) {
        const Layer *l = pass->frame->stage->layers + pass->layer;
        KIND(attention)(pass, l);
        KIND(feed_forward)(pass, l);
    }
}

/* Score rows against a table: scores [rows, rows of the table]. */
static void KIND(logits)(Pass *pass, const Matrix *table, float *scores) {
    for_rows(pass, KIND(norm_some));
    KIND(multiply)(pass, table, scores, table->num_rows, 0);
}

static const Arithmetic KIND(arithmetic) = {KIND(forward), KIND(logits)};

#undef PARTS
#undef PART_LANES
#undef ROWS_AT_ONCE
#undef QUERIES_AT_ONCE
#undef WEIGHED_AT_ONCE
#undef EACH_PART
#undef Part
#undef IntPart
#undef Floats
#undef Ints
