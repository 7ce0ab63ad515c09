// Ctrl-C: see interrupt.h.
#include "app/interrupt.h"

#include <signal.h>
#include <stdatomic.h>

static atomic_bool seen; // lock-free, so that a handler may set it and any thread read it

static void on_signal(int number)
{
    (void)number;
    atomic_store(&seen, true);
}

void interrupt_catch(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &a, 0);
    sigaction(SIGTERM, &a, 0);
}

bool interrupt_seen(void)
{
    return atomic_load(&seen);
}
