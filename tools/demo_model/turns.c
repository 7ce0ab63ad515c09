// Turns of a chat: see turns.h.
#include "turns.h"

void turns_open(struct teller *t, const char *role)
{
    teller_say(t, "<|im_start|>");
    for (; *role; role++)
        teller_put(t, *role);
    teller_put(t, '\n');
}

void turns_close(struct teller *t)
{
    const char *mark = "<|im_end|>\n";
    for (; *mark; mark++)
        teller_put(t, *mark);
}

void turns_say(struct teller *t, const char *role, const char *template)
{
    turns_open(t, role);
    teller_say(t, template);
    turns_close(t);
}

void turns_exchange(struct teller *t, const char *question, const char *answer)
{
    turns_say(t, "user", question);
    turns_say(t, "assistant", answer);
}
