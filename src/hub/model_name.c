// Names of models: see model_name.h.
#include "hub/model_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char hub_prefix[] = "hf:", ollama_prefix[] = "ollama:";
static const char hub_url[] = "https://huggingface.co/";

enum { SHOWN_BYTES = 120, SPLIT_BYTES = sizeof "-00001-of-00003.gguf" - 1 };

static bool begins(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

static bool is_url(const char *text)
{
    return !strncasecmp(text, "https://", 8) || !strncasecmp(text, "http://", 7);
}

static bool clean(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

static bool part_ok(const char *part, size_t length)
{
    if (!length || part[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!clean(part[i]))
            return false;
    return true;
}

bool model_name_path_ok(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");
        if (!part_ok(path, length))
            return false;
        if (!path[length])
            return true;
        path += length + 1;
    }
}

bool model_name_claimed(const char *text)
{
    return begins(text, hub_prefix) || begins(text, ollama_prefix) || is_url(text);
}

static bool ends_gguf(const char *text, size_t length)
{
    return length > 5 && !strncasecmp(text + length - 5, ".gguf", 5);
}

bool model_name_bare(const char *text)
{
    size_t owner = strcspn(text, "/");
    if (!part_ok(text, owner) || text[owner] != '/')
        return false;
    const char *repo = text + owner + 1;
    size_t length = strcspn(repo, ":");
    return part_ok(repo, length) && !ends_gguf(repo, length) &&
           (!repo[length] || part_ok(repo + length + 1, strlen(repo + length + 1)));
}

static bool take(char *out, size_t size, const char *part, size_t length)
{
    if (!part_ok(part, length) || length >= size)
        return false;
    memcpy(out, part, length);
    out[length] = 0;
    return true;
}

static int refuse(const char *text, const char *wanted, struct err *e)
{
    char quoted[SHOWN_BYTES];
    size_t n = strcspn(text, "?#@"); // what follows may be secret
    return err_set(e, ERR_USAGE, "'%s' is no name of a model; %s",
                   err_quote(quoted, sizeof quoted, text, n < SHOWN_BYTES ? (int)n : SHOWN_BYTES),
                   wanted);
}

// OWNER/REPO, and behind it nothing, :QUANT or /FILE.
static bool parse_hub(struct model_name *n, const char *text)
{
    size_t owner = strcspn(text, "/");
    if (!take(n->owner, sizeof n->owner, text, owner) || !text[owner])
        return false;
    const char *repo = text + owner + 1;
    size_t length = strcspn(repo, "/:");
    if (!take(n->repo, sizeof n->repo, repo, length) || strstr(n->repo, ".."))
        return false;
    const char *rest = repo + length;
    if (!*rest)
        return true;
    if (*rest == ':')
        return take(n->quant, sizeof n->quant, rest + 1, strlen(rest + 1));
    size_t file = strlen(++rest);
    if (file >= sizeof n->file || !model_name_path_ok(rest) || !ends_gguf(rest, file))
        return false;
    memcpy(n->file, rest, file + 1);
    return true;
}

// NAME:TAG or NAMESPACE/NAME:TAG; without a tag it is "latest", as Ollama has it.
static bool parse_ollama(struct model_name *n, const char *text)
{
    size_t slash = strcspn(text, "/");
    const char *name = text[slash] ? text + slash + 1 : text;
    size_t length = strcspn(name, ":");
    bool ok = text[slash] ? take(n->owner, sizeof n->owner, text, slash)
                          : take(n->owner, sizeof n->owner, "library", 7);
    const char *tag = name[length] ? name + length + 1 : "latest";
    return ok && take(n->repo, sizeof n->repo, name, length) &&
           take(n->quant, sizeof n->quant, tag, strlen(tag));
}

// A page or a file of the hub: OWNER/REPO/resolve/main/FILE.gguf, blob/ for resolve/.
static bool parse_hub_url(struct model_name *n, const char *path)
{
    char plain[NAME_FILE_BYTES + 2 * NAME_PART_BYTES];
    size_t length = strcspn(path, "?#"), owner = strcspn(path, "/");
    if (length >= sizeof plain || !path[owner])
        return false;
    size_t repo = owner + 1 + strcspn(path + owner + 1, "/");
    static const char *const ways[] = {"/resolve/main/", "/blob/main/"};
    for (size_t i = 0; i < 2; i++) {
        size_t way = strlen(ways[i]);
        if (repo + way < length && !strncmp(path + repo, ways[i], way)) {
            snprintf(plain, sizeof plain, "%.*s/%.*s", (int)repo, path, (int)(length - repo - way),
                     path + repo + way);
            return parse_hub(n, plain);
        }
    }
    return false;
}

static int parse_url(struct model_name *n, const char *text, struct err *e)
{
    size_t length = strlen(text);
    if (begins(text, hub_url) && parse_hub_url(n, text + sizeof hub_url - 1)) {
        n->kind = NAME_HUB;
        return 0;
    }
    *n = (struct model_name){.kind = NAME_URL};
    for (size_t i = 0; i < length; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return refuse(text, "a URL has no spaces and no characters beyond ASCII", e);
    if (length >= sizeof n->url)
        return refuse(text, "the URL is too long", e);
    const char *host = strstr(text, "://") + 3;
    size_t host_length = strcspn(host, "/?#"), path = strcspn(host, "?#");
    if (memchr(host, '@', host_length))
        return refuse(text, "a URL with a user's name or password is not taken", e);
    if (path >= sizeof n->file || host_length == path || !ends_gguf(host, path))
        return refuse(text,
                      "a URL must name a file that ends with .gguf, as in "
                      "https://host/folder/model.gguf",
                      e);
    memcpy(n->file, host, path);
    n->file[path] = 0;
    for (size_t i = 0; i < host_length; i++)
        n->file[i] = n->file[i] == ':' ? '_' : (char)tolower((unsigned char)n->file[i]);
    if (!model_name_path_ok(n->file))
        return refuse(text,
                      "between the slashes of a URL go letters, digits, '.', '_' and '-', "
                      "and none begins with a dot",
                      e);
    memcpy(n->url, text, length + 1);
    return 0;
}

int model_name_parse(struct model_name *n, const char *text, struct err *e)
{
    *n = (struct model_name){.kind = NAME_HUB};
    if (is_url(text))
        return parse_url(n, text, e);
    if (begins(text, ollama_prefix)) {
        n->kind = NAME_OLLAMA;
        if (!parse_ollama(n, text + sizeof ollama_prefix - 1))
            return refuse(text, "wanted is ollama:NAME:TAG, as 'rondo ls' shows it", e);
        return 0;
    }
    if (!parse_hub(n, begins(text, hub_prefix) ? text + sizeof hub_prefix - 1 : text))
        return refuse(text,
                      "wanted is hf:OWNER/REPO, hf:OWNER/REPO:QUANT, hf:OWNER/REPO/FILE.gguf "
                      "or the URL of a .gguf file",
                      e);
    return 0;
}

void model_name_text(const struct model_name *n, char *out, size_t size)
{
    switch (n->kind) {
    case NAME_HUB:
        snprintf(out, size, "hf:%s/%s%s%s", n->owner, n->repo,
                 n->file[0]    ? "/"
                 : n->quant[0] ? ":"
                               : "",
                 n->file[0] ? n->file : n->quant);
        break;
    case NAME_URL:
        snprintf(out, size, "%.*s", (int)strcspn(n->url, "?#"), n->url);
        break;
    case NAME_OLLAMA:
        snprintf(out, size, "ollama:%s%s%s:%s", strcmp(n->owner, "library") ? n->owner : "",
                 strcmp(n->owner, "library") ? "/" : "", n->repo, n->quant);
        break;
    }
}

bool model_name_split(const char *file, size_t *stem, int *no, int *of)
{
    size_t length = strlen(file);
    if (length <= SPLIT_BYTES)
        return false;
    int end = 0;
    const char *suffix = file + length - SPLIT_BYTES;
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)suffix[1 + i]) || !isdigit((unsigned char)suffix[10 + i]))
            return false;
    *stem = length - SPLIT_BYTES;
    return sscanf(suffix, "-%5d-of-%5d.gguf%n", no, of, &end) == 2 && end == SPLIT_BYTES &&
           *no >= 1 && *no <= *of;
}
