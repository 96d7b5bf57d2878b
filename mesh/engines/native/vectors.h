/* Numbers by sixteens, in as many parts as one kind of processor needs registers for them.
 *
 * Included by the header of each kind, which has set KIND(name) and PARTS. Operators work on parts, because
 * compilers make good code of vectors that a processor has, and bad code of wider ones.
 */

#define PART_LANES (LANES / PARTS)
#define Part KIND(Part)
#define IntPart KIND(IntPart)
#define Floats KIND(Floats)
#define Ints KIND(Ints)

typedef float Part __attribute__((vector_size(PART_LANES * 4)));
typedef int32_t IntPart __attribute__((vector_size(PART_LANES * 4)));

typedef struct {
    Part part[PARTS];
} Floats;

typedef struct {
    IntPart part[PARTS];
} Ints;

#define EACH_PART UNROLL for (int p = 0; p < PARTS; p++)

INLINE Part KIND(load_part)(const float *at) {
    Part out;
    memcpy(&out, at, sizeof out);
    return out;
}

INLINE void KIND(store_part)(float *at, Part x) { memcpy(at, &x, sizeof x); }

INLINE Part KIND(spread)(float x) {
    const Part zero = {0};
    return x - zero; /* which compilers leave out, unlike the addition of 0 */
}

INLINE Floats KIND(load)(const float *at) {
    Floats out;
    EACH_PART out.part[p] = KIND(load_part)(at + p * PART_LANES);
    return out;
}

INLINE void KIND(store)(float *at, Floats x) {
    EACH_PART KIND(store_part)(at + p * PART_LANES, x.part[p]);
}

INLINE Floats KIND(spread_all)(float x) {
    Floats out;
    EACH_PART out.part[p] = KIND(spread)(x);
    return out;
}

/* The larger ones of two, those of b where a number is none. */
INLINE Part KIND(larger)(Part a, Part b) {
    IntPart is_larger = a > b;
    return (Part)(((IntPart)a & is_larger) | ((IntPart)b & ~is_larger));
}

INLINE int32_t KIND(four)(const int8_t *at) {
    int32_t out;
    memcpy(&out, at, 4);
    return out;
}
