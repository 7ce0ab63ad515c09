// Ctrl-C: see interrupt.h.
#include "app/interrupt.h"

#include <signal.h>

static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    (void)number;
    seen = 1;
}

void interrupt_catch(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &a, 0);
    sigaction(SIGTERM, &a, 0);
}

bool interrupt_seen(void)
{
    return seen;
}
