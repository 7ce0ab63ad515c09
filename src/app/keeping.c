// Reading amounts of memory: see keeping.h.
#include "app/keeping.h"

#include "weights/budget.h"

#include <stdlib.h>
#include <string.h>

static const double memory_least = 1 << 20, memory_most = 1ull << 50;

static int no_amount(const char *text, struct err *e)
{
    char shown[64];
    err_quote(shown, sizeof shown, text, (int)strlen(text));
    return err_set(e, ERR_USAGE,
                   "--memory wants a size such as 6G, a part of the machine's memory such as 50%%, "
                   "or auto, not '%s'",
                   shown);
}

int keeping_memory(const char *text, uint64_t total, uint64_t *out, struct err *e)
{
    char *end;
    double bytes, percent = strtod(text, &end);
    *out = 0;
    if (!strcmp(text, "auto"))
        return 0;
    if (end != text && !strcmp(end, "%")) {
        if (!(percent > 0 && percent <= 100))
            return err_set(e, ERR_USAGE, "--memory %s: ask for more than 0%% and at most 100%%",
                           text);
        bytes = percent / 100 * (double)total;
    } else if (!options_read_size(text, &bytes)) {
        return no_amount(text, e);
    }
    if (bytes > memory_most)
        return err_set(e, ERR_USAGE,
                       "--memory %s is more than any machine has; ask for what this one can give, "
                       "or for auto",
                       text);
    if (!(bytes >= memory_least))
        return err_set(e, ERR_USAGE,
                       "--memory %s is no amount that weights could use; ask for 1M at least",
                       text);
    *out = (uint64_t)bytes;
    return 0;
}

int keeping_read(struct weights_options *out, const struct options *o, struct err *e)
{
    out->form = (enum weights_form)options_enum(o, OPT_LAYOUT);
    out->residency = (enum residency)options_enum(o, OPT_RESIDENCY);
    return keeping_memory(options_text(o, OPT_MEMORY), budget_total(""), &out->memory, e);
}
