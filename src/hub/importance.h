// Importance matrices: how strongly each column of a model's matrices is used, as the mean square
// of what it is multiplied with. They come from running a text through a model (rondo imatrix), and
// tell an encoder which weights matter.
//
// Two file formats are read, those of llama.cpp, so that files can be exchanged:
//   GGUF   general.type = "imatrix"; for a matrix NAME the tensors NAME.in_sum2 (n_in, n_matrices),
//          sums of squares, and NAME.counts (1, n_matrices), of how many inputs each is the sum.
//   .dat   int32 entries; each: int32 length, name, int32 calls, int32 values, float values[]; then
//          perhaps int32 chunks, int32 length, name of the text.
// GGUF is what is written. Columns are compared with each other within a matrix only, so that it
// does not matter whether a file has sums or means.
#pragma once

#include "gguf/gguf.h"

enum { IMATRIX_MAX_ENTRIES = GGUF_MAX_TENSORS };

struct imatrix;

// Either format, told by its first bytes. The file stays mapped until it is freed.
int imatrix_open(struct imatrix **out, const char *path, struct err *e);
// The same of a file in memory, which must outlive it. `name` for messages.
int imatrix_parse(struct imatrix **out, const uint8_t *data, size_t size, const char *name,
                  struct err *e);
void imatrix_free(struct imatrix *m);

size_t imatrix_n_entries(const struct imatrix *m);
uint64_t imatrix_n_chunks(const struct imatrix *m);          // 0: not told
struct gguf_string imatrix_dataset(const struct imatrix *m); // of length 0: not told

// What the columns of matrix `index` of tensor `tensor` count: out (n_in). 0; 1 when the file has
// nothing of this matrix or nothing ever reached it, `out` is untouched; or an error: the file was
// made of a model of another shape, or holds what no sum of squares can be.
int imatrix_weights(const struct imatrix *m, const struct gguf_tensor *tensor, uint64_t index,
                    float *out, struct err *e);

// ---- making one --------------------------------------------------------------------------------

struct imatrix_sums; // one thread's

// Sums for every matrix of a model, all zero.
int imatrix_sums_new(struct imatrix_sums **out, const struct gguf *g, struct err *e);
void imatrix_sums_free(struct imatrix_sums *s);
// Another input x (n_in) of the matrix in `piece`. Allocates nothing.
void imatrix_sums_add(struct imatrix_sums *s, uint32_t piece, const float *x);
// Matrices that got an input, and those that are there.
void imatrix_sums_count(const struct imatrix_sums *s, size_t *reached, size_t *all);
int imatrix_sums_write(const struct imatrix_sums *s, const char *path, const char *dataset,
                       uint64_t n_chunks, uint64_t chunk_size, struct err *e);
