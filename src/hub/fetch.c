// Fetching one file: see fetch.h.
//
//     the file   |#########|###>........|##>.........|............|......|
//                 done      stream 0     stream 1     not taken yet
//
// A stream is one connection with the range [at, end) it has been given; what comes is written
// where it belongs and at moves on. At first there is one stream, whose answer tells the size and
// whether the server knows ranges; then the others join. Each answer is judged by its head before
// its first byte is taken. What went wrong ends as one of four: broken (try again, later), changed
// (all from the start), whole (this server sends whole files only), or an error.
#include "hub/fetch.h"

#include "base/clock.h"
#include "base/log.h"
#include "hub/fetch_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAVE_MS = 2000,
    POLL_MS = 100,
    MAX_RESTARTS = 3,
    MAX_WHOLE_TRIES = 5,
    MUCH_BYTES = 64 << 10, // a try that brought so much was not in vain
    HEADER_BYTES = HEAD_TAG_BYTES + 32,
    SHOWN_BYTES = 160,
};

#define CHUNK_BYTES ((uint64_t)64 << 20)

enum ending { ENDING_OK, ENDING_BROKEN, ENDING_CHANGED, ENDING_WHOLE, ENDING_ERROR };

struct stream {
    struct transfer *t;
    CURL *easy;
    struct curl_slist *headers;
    struct http_head head;
    char *url; // heap: after redirects
    int hops;
    bool busy;              // is in the multi handle
    bool given;             // has a range
    bool judged;            // the head of this answer
    uint64_t at, end, from; // from: where this try began
    int tries;              // in vain, one after the other
    int64_t not_before_ms;
    enum ending ending; // why it refused what came
    struct err why;
};

struct transfer {
    const struct fetch *f;
    struct fetch_part part;
    CURLM *multi;
    struct stream streams[FETCH_MAX_CONNECTIONS];
    int n_streams;
    char *direct; // heap: where redirects led; NULL: not known
    bool known;   // an answer of this run has told size and tag
    bool whole;   // one connection, no ranges
    bool has_digest;
    struct digest digest;
    uint64_t size;                 // HEAD_UNKNOWN
    char old_etag[HEAD_TAG_BYTES]; // of an earlier run, where a digest says the same
    int restarts, whole_tries;
    uint64_t moved;
    int64_t saved_ms;
    bool finished, stopped;
};

// ---- judging an answer -------------------------------------------------------------------------

static bool end_as(struct stream *s, enum ending ending, int code, const char *sentence)
{
    char shown[SHOWN_BYTES];
    s->ending = ending;
    s->why = (struct err){0};
    err_set(&s->why, code, "%s: %s", request_shown(s->t->f->url, shown, sizeof shown), sentence);
    return false;
}

static bool broken(struct stream *s, const char *sentence)
{
    return end_as(s, ENDING_BROKEN, ERR_FAILED, sentence);
}

static bool changed(struct stream *s)
{
    return end_as(s, ENDING_CHANGED, ERR_FAILED,
                  "the file changes on the server while it is downloaded; try again later");
}

static const char *tag_of(const struct http_head *h)
{
    return h->etag[0] ? h->etag : h->modified;
}

// The size, as an answer tells it.
static bool agree_size(struct stream *s, uint64_t size)
{
    struct transfer *t = s->t;
    if (size == HEAD_UNKNOWN || size == t->size)
        return true;
    if (t->f->size) {
        char sentence[160];
        snprintf(sentence, sizeof sentence,
                 "should have %" PRIu64 " bytes, the server has one of %" PRIu64
                 "; it lies or is about to change, try again later",
                 t->f->size, size);
        return end_as(s, ENDING_ERROR, ERR_FAILED, sentence);
    }
    if (t->size != HEAD_UNKNOWN)
        return changed(s);
    t->size = size;
    return true;
}

// The entity tag. After a break of the program a digest that stayed the same is better than a tag.
static bool agree_tag(struct stream *s)
{
    struct transfer *t = s->t;
    struct part_state *p = &t->part.state;
    const char *tag = tag_of(&s->head);
    if (!t->known && t->old_etag[0] && !t->has_digest && strcmp(t->old_etag, tag))
        return changed(s);
    if (p->etag[0] && strcmp(p->etag, tag))
        return changed(s);
    if (strlen(tag) < sizeof p->etag)
        memcpy(p->etag, tag, strlen(tag) + 1);
    return true;
}

static bool judge_range(struct stream *s)
{
    struct transfer *t = s->t;
    const struct http_head *h = &s->head;
    if (!h->ranged || h->first != s->at || h->last >= s->end)
        return broken(s, "the server sends another part than it was asked for");
    if (h->length != HEAD_UNKNOWN && h->length != h->last - h->first + 1)
        return broken(s, "the server contradicts itself about the length of what it sends");
    if (h->total == HEAD_UNKNOWN && t->size == HEAD_UNKNOWN)
        return end_as(s, ENDING_WHOLE, ERR_FAILED, "the server does not tell the file's length");
    if (!agree_size(s, h->total) || !agree_tag(s))
        return false;
    s->end = h->last + 1;
    return true;
}

// A whole file where a range was asked for: it has changed, or the server knows no ranges.
static bool judge_whole(struct stream *s)
{
    struct transfer *t = s->t;
    const struct http_head *h = &s->head;
    if (!t->whole) {
        const char *tag = tag_of(h), *seen = t->part.state.etag;
        if (t->known && (!*seen || strcmp(tag, seen)))
            return changed(s);
        return end_as(s, ENDING_WHOLE, ERR_FAILED, "the server sends whole files only");
    }
    if (h->status != 200)
        return broken(s, "the server sends a part of the file where it was asked for all of it");
    if (!agree_size(s, h->length) || !agree_tag(s))
        return false;
    s->end = t->size;
    return true;
}

static void note_digest(struct transfer *t, const char *etag)
{
    struct digest d;
    if (!t->has_digest && http_head_digest(etag, &d)) {
        t->has_digest = true;
        t->digest = d;
    }
}

static bool judge(struct stream *s)
{
    struct transfer *t = s->t;
    const struct http_head *h = &s->head;
    struct part_state *p = &t->part.state;
    s->judged = true;
    if (h->html)
        return end_as(s, ENDING_ERROR, ERR_FAILED,
                      "the server sends a web page instead of the file; open the address in a "
                      "browser to see what it wants");
    if (h->encoded)
        return end_as(s, ENDING_ERROR, ERR_FAILED,
                      "the server sends the file in an encoding that nobody asked for");
    if (h->broken)
        return broken(s, "the server's answer contradicts itself");
    note_digest(t, h->linked_etag);
    note_digest(t, h->etag);
    if (p->has_digest && t->has_digest && memcmp(&p->digest, &t->digest, sizeof t->digest))
        return changed(s);
    if (h->status != 206 && h->status != 200)
        return broken(s, "the server answers without a file");
    if (!(h->status == 206 && !t->whole ? judge_range(s) : judge_whole(s)))
        return false;
    if (!t->known && fetch_part_room(&t->part, t->size == HEAD_UNKNOWN ? 0 : t->size, &s->why)) {
        s->ending = ENDING_ERROR;
        return false;
    }
    p->size = t->size;
    p->has_digest = t->has_digest;
    p->digest = t->digest;
    t->known = true;
    return true;
}

// ---- what libcurl calls ------------------------------------------------------------------------

static size_t on_head(char *line, size_t one, size_t size, void *arg)
{
    (void)one;
    struct stream *s = arg;
    http_head_line(&s->head, line, size);
    return size;
}

static bool begins_as_gguf(struct stream *s, const char *data, size_t size)
{
    char sentence[128], quoted[32];
    size_t n = size < 24 ? size : 24;
    if (s->at || size < 4 || !memcmp(data, "GGUF", 4))
        return true;
    snprintf(sentence, sizeof sentence, "is no GGUF file, it begins with '%s'; check the address",
             err_quote(quoted, sizeof quoted, data, (int)n));
    return end_as(s, ENDING_ERROR, ERR_FAILED, sentence);
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    (void)one;
    struct stream *s = arg;
    struct transfer *t = s->t;
    if (s->head.status / 100 != 2)
        return size; // the page that comes with an error or a redirect
    if (!s->judged && !judge(s))
        return 0;
    if (size > s->end - s->at) {
        broken(s, "the server sends more than it said");
        return 0;
    }
    if (!begins_as_gguf(s, data, size))
        return 0;
    if (fetch_part_write(&t->part, data, size, s->at, &s->why)) {
        s->ending = ENDING_ERROR;
        return 0;
    }
    s->at += size;
    t->moved += size;
    return size;
}

// ---- starting a stream -------------------------------------------------------------------------

// Gives an idle stream the next range that nobody has; false: there is none.
static bool give_range(struct transfer *t, struct stream *s)
{
    struct ranges taken = t->part.state.done;
    struct range gap;
    uint64_t chunk = t->f->chunk ? t->f->chunk : CHUNK_BYTES;
    for (int i = 0; i < t->n_streams; i++)
        if (t->streams[i].given)
            ranges_add(&taken, t->streams[i].at, t->streams[i].end);
    if (!ranges_gap(&taken, t->size, &gap))
        return false;
    s->given = true;
    s->at = gap.lo;
    s->end = t->whole || gap.hi - gap.lo <= chunk ? gap.hi : gap.lo + chunk;
    return true;
}

static int ask_for_range(struct stream *s, struct err *e)
{
    const struct part_state *p = &s->t->part.state;
    char range[64], line[HEADER_BYTES];
    s->headers = NULL;
    if (s->t->whole)
        return 0;
    snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, s->at, s->end - 1);
    curl_easy_setopt(s->easy, CURLOPT_RANGE, range);
    if (p->etag[0] == '"') { // a strong tag
        snprintf(line, sizeof line, "If-Range: %s", p->etag);
        s->headers = curl_slist_append(NULL, line);
        if (!s->headers)
            return err_set(e, ERR_NO_MEMORY, "no memory for a request");
    }
    return 0;
}

static int start(struct stream *s, struct err *e)
{
    struct transfer *t = s->t;
    curl_easy_reset(s->easy);
    curl_slist_free_all(s->headers);
    http_head_init(&s->head);
    s->judged = false;
    s->ending = ENDING_OK;
    s->why = (struct err){0};
    s->from = s->at;
    int rc = ask_for_range(s, e);
    if (!rc)
        rc = request_set_up(s->easy, &t->f->how, s->url, &s->headers, e);
    if (rc)
        return rc;
    curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, (char *)s);
    curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, 256L << 10);
    if (curl_multi_add_handle(t->multi, s->easy))
        return err_set(e, ERR_NO_MEMORY, "no memory for a request");
    s->busy = true;
    return 0;
}

static int set_url(struct stream *s, const char *url, struct err *e)
{
    char *copy = strdup(url);
    if (!copy)
        return err_set(e, ERR_NO_MEMORY, "no memory for a request");
    free(s->url);
    s->url = copy;
    return 0;
}

static int start_idle(struct transfer *t, struct err *e)
{
    int64_t now = clock_ms();
    int rc = 0;
    for (int i = 0; i < t->n_streams && !rc; i++) {
        struct stream *s = &t->streams[i];
        if (s->busy || s->not_before_ms > now || (i && (!t->known || t->whole)))
            continue;
        if (!s->given && !give_range(t, s))
            continue;
        s->hops = 0;
        rc = set_url(s, t->direct ? t->direct : t->f->url, e);
        if (!rc)
            rc = start(s, e);
    }
    return rc;
}

static void stop_stream(struct stream *s)
{
    if (s->busy)
        curl_multi_remove_handle(s->t->multi, s->easy);
    s->busy = s->given = false;
}

// ---- when a stream ends ------------------------------------------------------------------------

// All from the start: the file is another one now, or the server knows no ranges.
static int restart(struct transfer *t, struct err *e)
{
    for (int i = 0; i < t->n_streams; i++)
        stop_stream(&t->streams[i]);
    t->known = false;
    t->size = t->f->size ? t->f->size : HEAD_UNKNOWN;
    t->has_digest = t->f->has_digest;
    t->digest = t->f->digest;
    t->old_etag[0] = 0;
    return fetch_part_restart(&t->part, e);
}

static bool others_move(const struct transfer *t, const struct stream *s)
{
    for (int i = 0; i < t->n_streams; i++) {
        const struct stream *o = &t->streams[i];
        if (o != s && o->busy && o->judged && o->at > o->from)
            return true;
    }
    return false;
}

// Another try later, or none: then the sentence is `why`.
static int try_again(struct transfer *t, struct stream *s, struct err *why, struct err *e)
{
    int64_t wait = request_wait_ms(&t->f->how, &s->head, s->tries);
    if (t->whole) { // it begins at the start again
        if (++t->whole_tries >= MAX_WHOLE_TRIES || wait < 0)
            return err_set(e, why->code, "%s", why->text);
        int rc = restart(t, e);
        if (rc)
            return rc;
    } else if (s->at - s->from >= MUCH_BYTES) {
        s->tries = 0;
    }
    if (++s->tries >= (t->known ? REQUEST_MAX_TRIES : REQUEST_FIRST_TRIES) || wait < 0) {
        if (!others_move(t, s) || t->whole)
            return err_set(e, why->code, "%s", why->text);
        s->tries = 0; // as many connections as the others are may be all that the server allows
    }
    log_info("%s; trying again in %.1f s", why->text, (double)wait * 1e-3);
    s->not_before_ms = clock_ms() + (wait < 0 ? REQUEST_MAX_WAIT_S * 1000 : wait);
    s->given = false;
    return 0;
}

static int end_refused(struct transfer *t, struct stream *s, struct err *e)
{
    switch (s->ending) {
    case ENDING_CHANGED:
        if (++t->restarts > MAX_RESTARTS)
            return err_set(e, s->why.code, "%s", s->why.text);
        log_info("%s: has changed, it is fetched from the start", t->part.path);
        return restart(t, e);
    case ENDING_WHOLE:
        t->whole = true;
        return restart(t, e);
    case ENDING_BROKEN:
        return try_again(t, s, &s->why, e);
    default:
        return err_set(e, s->why.code, "%s", s->why.text);
    }
}

static int end_status(struct transfer *t, struct stream *s, struct err *e)
{
    struct err why = {0};
    int status = s->head.status;
    if (status == 416) { // beyond the end: the file is shorter than it was, or has no bytes
        changed(s);
        if (t->restarts && !t->whole)
            s->ending = ENDING_WHOLE;
        return end_refused(t, s, e);
    }
    request_refused(&t->f->how, s->url, &s->head, &why);
    if (t->direct && !strcmp(t->direct, s->url)) {
        free(t->direct); // addresses behind a redirect lose their validity
        t->direct = NULL;
        return try_again(t, s, &why, e);
    }
    if (request_again(status))
        return try_again(t, s, &why, e);
    return err_set(e, why.code, "%s", why.text);
}

static int end_redirect(struct transfer *t, struct stream *s, struct err *e)
{
    if (s->head.linked_size != HEAD_UNKNOWN && !agree_size(s, s->head.linked_size))
        return end_refused(t, s, e);
    note_digest(t, s->head.linked_etag);
    char *to = request_redirect(s->url, &s->head, s->hops++, e);
    if (!to)
        return e->code;
    free(s->url);
    s->url = to;
    return start(s, e);
}

static int end_whole_range(struct transfer *t, struct stream *s, struct err *e)
{
    s->given = false;
    s->tries = 0;
    if (strcmp(s->url, t->f->url) && !t->direct)
        t->direct = strdup(s->url); // NULL: the next one asks again
    if (t->whole && t->size == HEAD_UNKNOWN)
        t->size = t->part.state.size = s->at;
    struct range gap;
    t->finished = !ranges_gap(&t->part.state.done, t->size, &gap);
    int rc = t->part.looked ? 0 : fetch_part_look(&t->part, e);
    if (rc < 0)
        fetch_part_restart(&t->part, NULL); // more of it would not help
    return rc < 0 ? rc : 0;
}

static int end_stream(struct transfer *t, struct stream *s, CURLcode code, struct err *e)
{
    struct err why = {0};
    curl_multi_remove_handle(t->multi, s->easy);
    s->busy = false;
    if (code == CURLE_OK && s->head.status / 100 == 2 && !s->judged && judge(s))
        code = CURLE_PARTIAL_FILE; // an answer without a byte
    if (s->ending != ENDING_OK)
        return end_refused(t, s, e);
    if (code == CURLE_OK && s->head.status / 100 == 3)
        return end_redirect(t, s, e);
    if (code == CURLE_OK && s->head.status / 100 != 2)
        return end_status(t, s, e);
    bool complete = s->at == s->end || (t->whole && t->size == HEAD_UNKNOWN);
    if (s->judged && complete && (code == CURLE_OK || s->at == s->end))
        return end_whole_range(t, s, e);
    request_failed(s->url, code == CURLE_OK ? CURLE_PARTIAL_FILE : code, &why);
    if (!request_failed_again(code))
        return err_set(e, why.code, "%s", why.text);
    return try_again(t, s, &why, e);
}

// ---- the whole of it ---------------------------------------------------------------------------

static bool tell(struct transfer *t)
{
    uint64_t total = t->size == HEAD_UNKNOWN ? 0 : t->size;
    if (t->f->told &&
        !t->f->told(t->f->arg, FETCH_MOVING, ranges_bytes(&t->part.state.done), total))
        t->stopped = true;
    return !t->stopped;
}

static int step(struct transfer *t, struct err *e)
{
    int left, rc = start_idle(t, e);
    if (rc)
        return rc;
    if (curl_multi_perform(t->multi, &left))
        return err_set(e, ERR_FAILED, "the library for downloads failed");
    for (CURLMsg *m; !rc && (m = curl_multi_info_read(t->multi, &left));) {
        struct stream *s = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        if (m->msg == CURLMSG_DONE && s->busy) // not of a stream that was stopped meanwhile
            rc = end_stream(t, s, m->data.result, e);
    }
    if (!rc && clock_ms() - t->saved_ms >= SAVE_MS) {
        rc = fetch_part_save(&t->part, e);
        t->saved_ms = clock_ms();
    }
    if (!rc && !t->finished && tell(t))
        curl_multi_poll(t->multi, NULL, 0, POLL_MS, NULL);
    return rc;
}

// What an earlier run left, where it is of the same file.
static int take_up(struct transfer *t, struct err *e)
{
    struct part_state *p = &t->part.state;
    const struct fetch *f = t->f;
    struct range gap;
    bool other =
        (f->size && p->size != f->size) ||
        (f->has_digest && (!p->has_digest || memcmp(&p->digest, &f->digest, sizeof f->digest)));
    if (!p->done.n || other || (!p->etag[0] && !p->has_digest))
        return restart(t, e);
    t->size = p->size;
    if (p->has_digest) { // a digest that stayed the same is better than a tag
        memcpy(t->old_etag, p->etag, sizeof t->old_etag);
        p->etag[0] = 0;
    }
    log_info("%s: going on, %" PRIu64 " of %" PRIu64 " bytes are there", t->part.path,
             ranges_bytes(&p->done), p->size);
    bool all = !ranges_gap(&p->done, p->size, &gap);
    t->finished = all && f->has_digest;
    if (all && !f->has_digest) // the last byte again: its answer tells whether it is still the file
        p->done.at[0].hi--;
    return 0;
}

static bool tell_checking(void *arg, uint64_t done, uint64_t total)
{
    const struct fetch *f = ((struct transfer *)arg)->f;
    ((struct transfer *)arg)->stopped = f->told && !f->told(f->arg, FETCH_CHECKING, done, total);
    return !((struct transfer *)arg)->stopped;
}

static int check(struct transfer *t, struct fetched *out, struct err *e)
{
    struct digest d;
    int rc = fetch_part_look(&t->part, e);
    if (rc > 0)
        rc = err_set(e, ERR_FAILED, "%s: ends within its header", t->part.path);
    if (!rc && t->has_digest) {
        rc = fetch_part_digest(&t->part, &d, tell_checking, t, e);
        if (!rc && memcmp(&d, &t->digest, sizeof d)) {
            rc = err_set(e, ERR_FAILED,
                         "%s: what came is not what the server promised (its SHA-256 is another); "
                         "it was removed, try again",
                         t->part.path);
            fetch_part_restart(&t->part, NULL);
        }
    }
    out->size = t->size;
    out->verified = t->has_digest;
    return rc ? rc : fetch_part_finish(&t->part, e);
}

static int open_streams(struct transfer *t, struct err *e)
{
    t->multi = curl_multi_init();
    for (int i = 0; i < t->n_streams; i++) {
        t->streams[i] = (struct stream){.t = t, .easy = curl_easy_init()};
        if (!t->multi || !t->streams[i].easy)
            return err_set(e, ERR_NO_MEMORY, "no memory for %d connections", t->n_streams);
    }
    return 0;
}

static void close_streams(struct transfer *t)
{
    for (int i = 0; i < t->n_streams; i++) {
        struct stream *s = &t->streams[i];
        if (!s->easy)
            continue;
        stop_stream(s);
        curl_easy_cleanup(s->easy);
        curl_slist_free_all(s->headers);
        free(s->url);
    }
    curl_multi_cleanup(t->multi);
    free(t->direct);
}

int fetch_file(const struct fetch *f, struct fetched *out, struct err *e)
{
    int n = f->n_connections < FETCH_MAX_CONNECTIONS ? f->n_connections : FETCH_MAX_CONNECTIONS;
    struct transfer *t = calloc(1, sizeof *t);
    *out = (struct fetched){0};
    if (!t)
        return err_set(e, ERR_NO_MEMORY, "no memory to download");
    *t = (struct transfer){.f = f,
                           .n_streams = n > 1 ? n : 1,
                           .size = f->size ? f->size : HEAD_UNKNOWN,
                           .has_digest = f->has_digest,
                           .digest = f->digest,
                           .saved_ms = clock_ms()};
    int rc = fetch_part_open(&t->part, f->path, e);
    if (!rc) {
        rc = take_up(t, e);
        if (!rc)
            rc = open_streams(t, e);
        while (!rc && !t->finished && !t->stopped)
            rc = step(t, e);
        close_streams(t);
        if (!rc && t->stopped)
            rc = err_set(e, ERR_FAILED, "interrupted");
        if (rc)
            fetch_part_save(&t->part, NULL); // what came stays
        else
            rc = check(t, out, e);
        out->moved = t->moved;
        fetch_part_close(&t->part);
    }
    free(t);
    return rc;
}
