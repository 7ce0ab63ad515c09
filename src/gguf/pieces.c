// The numbers of pieces: see gguf.h.
#include "base/check.h"
#include "gguf/gguf.h"
#include "gguf/header.h"

int pieces_number(struct gguf *g, struct err *e)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        // A tensor's size was checked: the product of its dimensions fits.
        uint64_t n = t->size ? t->dims[2] * t->dims[3] : 1;
        if (n > GGUF_MAX_PIECES - g->n_pieces)
            return err_set(e, ERR_FAILED,
                           "%s: with the tensor %s there are more than %d matrices; the file is "
                           "damaged or of a kind that Rondo cannot run",
                           g->path, t->name.text, GGUF_MAX_PIECES);
        t->first_piece = (uint32_t)g->n_pieces;
        t->n_pieces = (uint32_t)n;
        g->n_pieces += (size_t)n;
    }
    return 0;
}

size_t gguf_n_pieces(const struct gguf *g)
{
    return g->n_pieces;
}

uint32_t gguf_tensor_piece(const struct gguf *g, const struct gguf_tensor *t)
{
    CHECK(t >= g->tensors && t < g->tensors + g->n_tensors);
    return t->first_piece;
}

struct gguf_piece gguf_piece_at(const struct gguf *g, uint32_t piece)
{
    size_t lo = 0, hi = g->n_tensors; // the last tensor that begins at or before the piece
    CHECK(piece < g->n_pieces);
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (g->tensors[mid].first_piece <= piece)
            lo = mid;
        else
            hi = mid;
    }
    const struct gguf_tensor *t = &g->tensors[lo];
    uint64_t size = t->size / t->n_pieces;
    uint32_t index = piece - t->first_piece;
    return (struct gguf_piece){t, t->offset + index * size, size, index};
}
