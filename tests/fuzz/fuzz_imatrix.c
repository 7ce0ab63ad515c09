// Importance matrices of either format. What is believed must be readable to its last number: every
// entry is asked for as a tensor of a few shapes.
#include "hub/importance.h"

#include "base/check.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_COLUMNS = 64 };

static void ask(const struct imatrix *m, const char *name, uint64_t n_in, uint64_t n)
{
    float w[MAX_COLUMNS];
    struct gguf_tensor t = {.name = {name, strlen(name)}, .dims = {n_in, 8, n, 1}};
    for (uint64_t i = 0; i < n; i++) {
        struct err e = {0};
        int rc = imatrix_weights(m, &t, i, w, &e);
        CHECK(rc == 1 || (rc < 0 && e.text[0]) || !rc);
        for (uint64_t c = 0; !rc && c < n_in; c++)
            CHECK(w[c] >= 0 && isfinite(w[c]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a.weight", "blk.0.ffn_up.weight"};
    struct imatrix *m;
    struct err e = {0};
    int rc = imatrix_parse(&m, data, size, "fuzz", &e);
    CHECK(rc == 0 || (rc < 0 && e.text[0] && !m));
    for (int i = 0; !rc && i < 2; i++) {
        ask(m, names[i], 4, 1);
        ask(m, names[i], 4, 3);
        ask(m, names[i], MAX_COLUMNS, 1);
    }
    if (!rc) {
        struct gguf_string set = imatrix_dataset(m);
        char quoted[64];
        err_quote(quoted, sizeof quoted, set.text, (int)(set.length < 1 << 20 ? set.length : 0));
        CHECK(imatrix_n_entries(m) > 0);
    }
    imatrix_free(m);
    return 0;
}
