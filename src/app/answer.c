// Making an answer: see answer.h.
#include "app/answer.h"

#include "app/interrupt.h"
#include "app/progress.h"
#include "base/clock.h"
#include "engine/session.h"

#include <string.h>

const char *const answer_stop_names[] = {"end", "length", "context", "interrupted"};

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

struct making {
    struct answer *a;
    const struct answer_request *r;
    const struct vocab *vocab;
    struct session *session;
    struct sampler *sampler;
    struct detokenizer text;
    size_t n_vocab;
    struct digest_state *hash; // NULL: not wanted
    bool heard;                // somebody listens
};

static bool tell(struct making *m, const char *text, size_t size)
{
    if (size && m->heard)
        m->heard = m->r->text(m->r->arg, text, size);
    return m->heard;
}

// Draws the next token. 1: it is there; 0: the answer is over (a->stop); or an error.
static int next_token(struct making *m, struct err *e)
{
    struct answer *a = m->a;
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
    tell(m, text, detokenize(&m->text, id, text, sizeof text));
    return 1;
}

static int answer_loop(struct making *m, int64_t start, struct err *e)
{
    struct answer *a = m->a;
    int64_t first = 0, last = 0;
    int rc = 1, n_drawn = 0;
    a->stop = ANSWER_LENGTH;
    while (rc > 0 && a->tokens.n < m->r->max_tokens) {
        rc = next_token(m, e);
        if (rc < 0 || a->stop == ANSWER_INTERRUPTED)
            break;
        last = clock_ns();
        first = n_drawn++ ? first : last;
        a->ttft_ns = first - start;
        a->tpot_ns = n_drawn > 1 ? (last - first) / (n_drawn - 1) : 0;
        if (rc == 0 || a->tokens.n == m->r->max_tokens)
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

static int answer_prompted(struct making *m, int64_t start, struct err *e)
{
    struct answer *a = m->a;
    char text[VOCAB_MAX_TOKEN_BYTES + 16];
    int rc = compute_prompt(m->session, m->r->prompt, e);
    if (rc == SESSION_CANCELLED)
        a->stop = ANSWER_INTERRUPTED;
    if (rc)
        return rc < 0 ? rc : 0;
    a->prompt_ns = clock_ns() - start;
    for (size_t i = 0; i < m->r->prompt->n; i++)
        sampler_accept(m->sampler, m->r->prompt->id[i]);
    rc = answer_loop(m, start, e);
    tell(m, text, detokenize_end(&m->text, text, sizeof text));
    return rc;
}

int answer_make(struct answer *a, struct loaded *l, const struct answer_request *r, struct err *e)
{
    struct session_options options = {.id = 0};
    struct making m = {.a = a, .r = r, .vocab = l->vocab, .heard = true};
    int64_t start = clock_ns();
    *a = (struct answer){0};
    m.n_vocab = (size_t)l->pipeline->info.hparams->n_vocab;
    m.text = (struct detokenizer){.vocab = l->vocab, .any = r->keep_space};
    int rc = session_new(&m.session, l->pipeline, &options, e);
    if (!rc)
        rc = sampler_new(&m.sampler, (int)m.n_vocab, &r->sampler, e);
    if (!rc) {
        m.hash = r->hash ? digest_begin() : NULL;
        rc = answer_prompted(&m, start, e);
        if (m.hash)
            a->logits = digest_end(m.hash);
    }
    sampler_free(m.sampler);
    session_free(m.session);
    return rc;
}

void answer_free(struct answer *a)
{
    ids_free(&a->tokens);
}
