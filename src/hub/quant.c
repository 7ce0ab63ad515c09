// Quantizations by the names of files: see quant.h.
#include "hub/quant.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LIST_BYTES = 260 };

// What is taken when nobody says which and the default is not there: about four bits first, then
// more, then less, then what has not been quantized.
static const char *const preferred[] = {
    QUANT_DEFAULT, "UD-Q4_K_XL", "Q4_K_XL", "Q4_K_L", "Q4_K_S", "Q4_K",   "Q5_K_M",
    "Q5_K_S",      "Q5_K",       "IQ4_XS",  "IQ4_NL", "Q4_0",   "Q4_1",   "MXFP4",
    "MXFP4_MOE",   "Q6_K",       "Q5_0",    "Q5_1",   "Q8_0",   "Q3_K_L", "Q3_K_M",
    "Q3_K_S",      "Q3_K",       "Q2_K",    "BF16",   "F16",    "F32",
};

enum { N_PREFERRED = sizeof preferred / sizeof *preferred };

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

bool quant_is_model(const char *file)
{
    const char *base = base_name(file);
    size_t length = strlen(base);
    return length > 5 && !strcasecmp(base + length - 5, ".gguf") &&
           strncasecmp(base, "mmproj", 6) && !strcasestr(base, "imatrix") &&
           !strcasestr(base, "mmproj-");
}

// Q4_K_M, IQ4_XS, TQ1_0, F16, BF16, MXFP4 and their like, over the whole word.
static bool is_quant(const char *word, size_t length)
{
    static const char *const plain[] = {"F16", "F32", "BF16", "FP16", "MXFP4", "MXFP4_MOE"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (length == strlen(plain[i]) && !strncasecmp(word, plain[i], length))
            return true;
    size_t at = length && strchr("iItT", word[0]) ? 1 : 0;
    if (length < at + 4 || toupper((unsigned char)word[at]) != 'Q' ||
        !isdigit((unsigned char)word[at + 1]) || word[at + 2] != '_')
        return false;
    for (at += 3; at < length; at++)
        if (!isalnum((unsigned char)word[at]) && word[at] != '_')
            return false;
    return true;
}

// The quantization in a word between dashes and dots, "Q4_K_M" or "model_Q4_K_M".
static const char *within(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((i == 0 || word[i - 1] == '_') && is_quant(word + i, length - i))
            return word + i;
    return NULL;
}

bool quant_of(const char *file, char out[NAME_PART_BYTES])
{
    const char *found = NULL;
    size_t found_length = 0;
    for (const char *at = file; *at;) {
        size_t length = strcspn(at, "-./");
        const char *quant = within(at, length);
        if (quant) { // the last one counts
            found = quant;
            found_length = length - (size_t)(quant - at);
        }
        at += length + (at[length] != 0);
    }
    if (!found || found_length + 3 >= NAME_PART_BYTES)
        return false;
    if (found - file >= 3 && !strncasecmp(found - 3, "UD-", 3)) {
        found -= 3;
        found_length += 3;
    }
    memcpy(out, found, found_length);
    out[found_length] = 0;
    return true;
}

static int rank(const char *file)
{
    char quant[NAME_PART_BYTES];
    if (!quant_of(file, quant))
        return N_PREFERRED + 1;
    for (int i = 0; i < N_PREFERRED; i++)
        if (!strcasecmp(quant, preferred[i]))
            return i;
    return N_PREFERRED;
}

static bool has_quant(const char *file, const char *wanted, bool also_dynamic)
{
    char quant[NAME_PART_BYTES];
    if (!quant_of(file, quant))
        return false;
    return !strcasecmp(quant, wanted) ||
           (also_dynamic && !strncasecmp(quant, "UD-", 3) && !strcasecmp(quant + 3, wanted));
}

// "Q4_K_M, Q8_0, other.gguf", as far as it fits.
static void list(char *out, size_t size, const char *const *files, size_t n)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        char quant[NAME_PART_BYTES];
        const char *name = quant_of(files[i], quant) ? quant : base_name(files[i]);
        bool twice = false;
        for (size_t j = 0; j < i && !twice; j++) {
            char other[NAME_PART_BYTES];
            twice = name == quant && quant_of(files[j], other) && !strcasecmp(quant, other);
        }
        if (twice)
            continue;
        if (used + strlen(name) + 8 > size) {
            snprintf(out + used, size - used, ", ...");
            return;
        }
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
    }
}

static int none(const char *const *files, size_t n_files, const struct model_name *n, struct err *e)
{
    char names[LIST_BYTES];
    list(names, sizeof names, files, n_files);
    if (!n_files)
        return err_set(e, ERR_FAILED, "hf:%.60s/%.60s: has no GGUF files that are models", n->owner,
                       n->repo);
    return err_set(e, ERR_FAILED, "hf:%.60s/%.60s: has no %.80s; there are: %s", n->owner, n->repo,
                   n->file[0] ? n->file : n->quant, names);
}

static int several(const char *const *files, int a, int b, const struct model_name *n,
                   struct err *e)
{
    return err_set(e, ERR_FAILED,
                   "hf:%.60s/%.60s: several of its files are meant by that, such as %.100s and "
                   "%.100s; name one: hf:%.60s/%.60s/FILE",
                   n->owner, n->repo, files[a], files[b], n->owner, n->repo);
}

static int choose_quant(const char *const *files, size_t n_files, const struct model_name *n,
                        struct err *e)
{
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        int found = -1;
        for (size_t i = 0; i < n_files; i++) {
            if (!has_quant(files[i], n->quant, dynamic))
                continue;
            if (found >= 0)
                return several(files, found, (int)i, n, e);
            found = (int)i;
        }
        if (found >= 0)
            return found;
    }
    return none(files, n_files, n, e);
}

int quant_choose(const char *const *files, size_t n_files, const struct model_name *n, char *why,
                 size_t why_size, struct err *e)
{
    char names[LIST_BYTES], quant[NAME_PART_BYTES];
    int best = 0;
    why[0] = 0;
    if (n->file[0]) {
        for (size_t i = 0; i < n_files; i++)
            if (!strcmp(files[i], n->file))
                return (int)i;
        return none(files, n_files, n, e);
    }
    if (n->quant[0])
        return choose_quant(files, n_files, n, e);
    if (!n_files)
        return none(files, n_files, n, e);
    for (size_t i = 1; i < n_files; i++)
        if (rank(files[i]) < rank(files[best]))
            best = (int)i;
    for (size_t i = 0; i < n_files; i++)
        if ((int)i != best && rank(files[i]) == rank(files[best]))
            return several(files, best, (int)i, n, e);
    if (rank(files[best]) && n_files > 1) {
        list(names, sizeof names, files, n_files);
        snprintf(why, why_size, "there is no " QUANT_DEFAULT "; %s is taken, the best of %s",
                 quant_of(files[best], quant) ? quant : base_name(files[best]), names);
    }
    return best;
}
