/* Loaded before the C library: the wall clock is wrong by as many nanoseconds as the file at $TOKENIST_TEST_WALL says in
 * its first eight bytes, now and whenever they change. All other clocks run as ever. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND_NS = 1000000000;
static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("TOKENIST_TEST_WALL");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset_ns = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (failed || !is_wall || !offset_ns) return failed;
    int64_t ns = now->tv_sec * SECOND_NS + now->tv_nsec + *offset_ns;
    now->tv_sec = ns / SECOND_NS;
    now->tv_nsec = ns % SECOND_NS;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec wall;
    int failed = clock_gettime(CLOCK_REALTIME, &wall);
    now->tv_sec = wall.tv_sec;
    now->tv_usec = wall.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *copy) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if (copy) *copy = wall.tv_sec;
    return wall.tv_sec;
}
