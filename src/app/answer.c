// Making an answer: see answer.h.
#include "app/answer.h"

#include "app/interrupt.h"
#include "app/progress.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

const char *const answer_stop_names[] = {"end", "length", "context", "interrupted"};

struct answering {
    struct answer_request r;
    const struct vocab *vocab;
    struct session *session;
    struct sampler *sampler;
    struct detokenizer text;
    size_t n_vocab;
    struct digest_state *hash; // NULL: not wanted
    bool heard;                // somebody listens
    int64_t start;
    int64_t further_ns; // between tokens, all together
    int n_further;
};

static bool prompt_progress(void *arg, size_t done, size_t total)
{
    progress_set(arg, done, total);
    return !interrupt_seen();
}

static int compute_prompt(struct session *s, const struct ids *prompt, struct err *e)
{
    struct progress progress;
    progress_start(&progress, "computing the prompt", "tokens");
    progress_set(&progress, 0, prompt->n);
    int rc = session_prompt(s, prompt->id, prompt->n, prompt_progress, &progress, e);
    progress_end(&progress);
    return rc;
}

static void tell(struct answering *m, int32_t id, const char *text, size_t size)
{
    m->heard = m->heard && m->r.token(m->r.arg, id, text, size);
}

// Draws the next token. 1: it is there; 0: the answer is over (a->stop); or an error.
static int next_token(struct answering *m, struct answer *a, struct err *e)
{
    char text[VOCAB_MAX_TOKEN_BYTES + 16];
    float *logits = session_logits(m->session);
    if (interrupt_seen() || !m->heard) {
        a->stop = ANSWER_INTERRUPTED;
        return 0;
    }
    if (m->hash)
        digest_add(m->hash, logits, m->n_vocab * sizeof *logits);
    int32_t id = sampler_draw(m->sampler, logits, e);
    if (id < 0)
        return id;
    if (vocab_is_end(m->vocab, id)) {
        a->stop = ANSWER_END;
        return 0;
    }
    sampler_accept(m->sampler, id);
    ids_push(&a->tokens, id);
    tell(m, id, text, detokenize(&m->text, id, text, sizeof text));
    return 1;
}

static void note_time(struct answering *m, struct answer *a, int64_t *last)
{
    int64_t now = clock_ns();
    if (!a->ttft_ns)
        a->ttft_ns = now - m->start;
    if (*last) {
        m->further_ns += now - *last;
        m->n_further++;
    }
    *last = now;
    a->tpot_ns = m->n_further ? m->further_ns / m->n_further : 0;
}

static int answer_loop(struct answering *m, struct answer *a, struct err *e)
{
    int64_t last = 0;
    int rc = 1;
    a->stop = ANSWER_LENGTH;
    while (rc > 0 && a->tokens.n < m->r.max_tokens) {
        rc = next_token(m, a, e);
        if (rc < 0 || a->stop == ANSWER_INTERRUPTED)
            break;
        note_time(m, a, &last);
        if (rc == 0 || a->tokens.n == m->r.max_tokens)
            break;
        if (!session_room(m->session)) {
            a->stop = ANSWER_CONTEXT;
            break;
        }
        int appended = session_append(m->session, a->tokens.id[a->tokens.n - 1], e);
        rc = appended ? appended : 1;
    }
    return rc < 0 ? rc : 0;
}

int answer_begin(struct answering **out, struct session *s, const struct vocab *v,
                 const struct answer_request *r, struct err *e)
{
    struct answering *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return err_set(e, ERR_NO_MEMORY, "no memory for an answer");
    *m = (struct answering){.r = *r, .vocab = v, .session = s, .heard = true, .start = clock_ns()};
    m->n_vocab = (size_t)session_n_vocab(s);
    m->text = (struct detokenizer){.vocab = v, .any = r->keep_space};
    int rc = sampler_new(&m->sampler, (int)m->n_vocab, &r->sampler, e);
    if (rc) {
        free(m);
        return rc;
    }
    m->hash = r->hash ? digest_begin() : NULL;
    *out = m;
    return 0;
}

int answer_run(struct answering *m, const struct ids *prompt, struct answer *a, struct err *e)
{
    int rc = compute_prompt(m->session, prompt, e);
    if (rc == SESSION_CANCELLED)
        a->stop = ANSWER_INTERRUPTED;
    if (rc)
        return rc < 0 ? rc : 0;
    if (!a->prompt_ns) { // the first time
        a->prompt_ns = clock_ns() - m->start;
        a->n_prompt = prompt->n;
        a->n_reused = session_reused(m->session);
        for (size_t i = 0; i < prompt->n; i++)
            sampler_accept(m->sampler, prompt->id[i]);
    }
    return answer_loop(m, a, e);
}

void answer_end(struct answering *m, struct answer *a)
{
    char text[VOCAB_MAX_TOKEN_BYTES + 16];
    if (!m)
        return;
    tell(m, -1, text, detokenize_end(&m->text, text, sizeof text));
    if (m->hash)
        a->logits = digest_end(m->hash);
    sampler_free(m->sampler);
    free(m);
}

void answer_free(struct answer *a)
{
    ids_free(&a->tokens);
}
