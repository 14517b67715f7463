/* heads.cl - where the products of a matmul lie: image by image, for each head h
 *   y [M, O] = scale a [M, K] b [K, O], slices of
 *   a [images, h, M, K]   b [images or 1, K, h, O]   y [images, M, h, O], or TRANSPOSED of
 *   a [images, M, h, K]   b [images or 1, O, h, K]   y [images, h, M, O]
 * Rows are those of a and y, lines those of b. */

#define SIZES int M, int O, int K, int heads

#ifdef TRANSPOSED
#define A_ROW ((size_t)heads * K)
#define A_HEAD ((size_t)K)
#define B_LINE ((size_t)heads * K)
#define B_HEAD ((size_t)K)
#define Y_ROW ((size_t)O)
#define Y_HEAD ((size_t)M * O)
#else
#define A_ROW ((size_t)K)
#define A_HEAD ((size_t)M * K)
#define B_LINE ((size_t)heads * O)
#define B_HEAD ((size_t)O)
#define Y_ROW ((size_t)heads * O)
#define Y_HEAD ((size_t)O)
#endif

/* Where the matrices of a product begin; of b's each is used by one image or, `shared`, by all. */
#define A_AT(product) ((size_t)((product) / heads * heads) * M * K + (product) % heads * A_HEAD)
#define B_AT(product) ((size_t)((product) / heads * heads) * O * K + (product) % heads * B_HEAD)
#define Y_AT(product) ((size_t)((product) / heads * heads) * M * O + (product) % heads * Y_HEAD)
#define OF_B(product) (shared ? (product) % heads : (product))
