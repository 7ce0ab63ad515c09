// Ctrl-C: see interrupt.h.
#include "app/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

// Lock-free, so that a handler may set them and any thread read them.
static atomic_bool seen, ending;
static atomic_int wake_fd = -1;

static void on_signal(int number)
{
    int code = errno, fd = atomic_load(&wake_fd);
    uint64_t one = 1;
    if (number == SIGINT)
        atomic_store(&seen, true);
    else
        atomic_store(&ending, true);
    if (fd >= 0)
        (void)!write(fd, &one, sizeof one);
    errno = code;
}

// What is being written goes on: a text that stops in its middle would be an error of the output.
static void handle(int number, int flags)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = flags | (int)SA_RESTART};
    sigaction(number, &a, 0);
}

void interrupt_catch(void)
{
    handle(SIGINT, (int)SA_RESETHAND);
    handle(SIGTERM, (int)SA_RESETHAND);
}

void interrupt_keep(int wake)
{
    atomic_store(&wake_fd, wake);
    handle(SIGINT, 0);
    handle(SIGTERM, (int)SA_RESETHAND);
    handle(SIGHUP, (int)SA_RESETHAND);
}

bool interrupt_seen(void)
{
    return atomic_load(&seen) || atomic_load(&ending);
}

void interrupt_clear(void)
{
    atomic_store(&seen, false);
}

bool interrupt_ending(void)
{
    return atomic_load(&ending);
}
