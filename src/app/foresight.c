// Asking the weights what they would do: see foresight.h.
#include "app/foresight.h"

#include "model/shard.h"

#include <stdlib.h>

static int ask(struct foresight *f, const struct model *m, struct weights *w, struct err *e)
{
    const struct gguf *g = model_gguf(m);
    int n_layers = model_hparams(m)->n_layers;
    const struct kernels *k = kernels_for(isa_detect());
    struct window all = {0, n_layers};
    shard_need(m, w, &all, 1, true);
    f->places = calloc(gguf_n_tensors(g) + 1, sizeof *f->places);
    if (!f->places)
        return err_set(e, ERR_NO_MEMORY, "no memory for the table of weights");
    int rc = weights_foresee(w, k, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < gguf_n_tensors(g); i++)
        f->places[i] = weights_place(w, gguf_tensor_at(g, i)->first_piece);
    weights_describe(w, f->text, sizeof f->text);
    f->report = weights_report(w);
    f->isa = k->isa;
    f->known = true;
    return 0;
}

int foresight_take(struct foresight *f, const struct gguf *g, struct err *e)
{
    struct err unknown = {0};
    struct model *m = NULL;
    struct weights *w = NULL;
    *f = (struct foresight){0};
    if (model_open(&m, g, &unknown))
        return 0; // a file may be looked at that does not run
    int rc = weights_open(&w, g, NULL, e);
    if (!rc)
        rc = ask(f, m, w, e);
    weights_free(w);
    model_free(m);
    return rc;
}

void foresight_free(struct foresight *f)
{
    free(f->places);
    f->places = NULL;
}

const char *foresight_name(enum weights_place p)
{
    static const char *const names[] = {"-", "rows", "lanes", "sidecar"};
    return names[p];
}
