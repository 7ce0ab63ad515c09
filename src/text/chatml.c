// ChatML: <|im_start|>ROLE newline TEXT <|im_end|> newline, and the answer's turn left open.
//
// The markers are put in as ids; role and text are tokenized together, as ordinary text, so words
// come out as they did in training and no text of a user can be a marker.
#include "text/chatml.h"

#include <stdlib.h>
#include <string.h>

bool chatml_supported(const struct vocab *v)
{
    int32_t start = vocab_find(v, "<|im_start|>"), end = vocab_find(v, "<|im_end|>");
    return start >= 0 && end >= 0 && vocab_is_control(v, start) && vocab_is_control(v, end);
}

static int put_turn(const struct vocab *v, const char *role, const char *text, size_t length,
                    struct ids *out, struct err *e)
{
    size_t n_role = strlen(role);
    char *turn = malloc(n_role + 1 + length);
    if (!turn)
        return err_set(e, ERR_NO_MEMORY, "no memory for a message of %zu bytes", length);
    memcpy(turn, role, n_role);
    turn[n_role] = '\n';
    memcpy(turn + n_role + 1, text, length);
    ids_push(out, vocab_find(v, "<|im_start|>"));
    int rc = vocab_encode(v, turn, n_role + 1 + length, 0, out, e);
    free(turn);
    if (rc)
        return rc;
    ids_push(out, vocab_find(v, "<|im_end|>"));
    return vocab_encode(v, "\n", 1, 0, out, e);
}

int chatml_encode(const struct vocab *v, const char *system, const char *user, size_t user_length,
                  struct ids *out, struct err *e)
{
    static const char answer[] = "assistant\n";
    if (!chatml_supported(v))
        return err_set(e, ERR_FAILED,
                       "this model's vocabulary has no ChatML markers (<|im_start|>, <|im_end|>)");
    size_t before = out->n;
    int rc = 0;
    if (vocab_adds_bos(v))
        ids_push(out, vocab_bos(v));
    if (system)
        rc = put_turn(v, "system", system, strlen(system), out, e);
    if (!rc)
        rc = put_turn(v, "user", user, user_length, out, e);
    if (!rc) {
        ids_push(out, vocab_find(v, "<|im_start|>"));
        rc = vocab_encode(v, answer, sizeof answer - 1, 0, out, e);
    }
    if (rc)
        out->n = before;
    return rc;
}
