/* Steps the wall clock of one process, as somebody who sets a machine's clock does: the seconds that the file named by
 * STEPPED_CLOCK holds, eight bytes in the machine's order, are added to what CLOCK_REALTIME says. They may change at any
 * time. Every other clock stays as it is. Preloaded by tests: `cc -shared -fPIC -o clock.so clock.c`. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *step_s;

__attribute__((constructor)) static void read_step(void)
{
    const char *path = getenv("STEPPED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        abort();
    step_s = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME && step_s)
        now->tv_sec += *step_s;
    return failed;
}
