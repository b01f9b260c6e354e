/* Loaded before the C library: calls on the ledger's files fail as the word in $TOKENIST_TEST_FAULT says.
 *
 * "full": writing fails with ENOSPC. "sync": syncing fails with EIO. "journal": writing to the journal fails with EIO.
 * "nojournal": making it fails with ENOSPC. "readonly": opening for writing and making folders fails with EROFS. "stall": the thread called shard-0 waits for events until the word is another one.
 * Anything else: nothing fails. Sockets and all other files are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fault_is(const char *word) {
    const char *path = getenv("TOKENIST_TEST_FAULT");
    if (!path) return 0;
    char text[16] = {0};
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t count = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    return count > 0 && strncmp(text, word, strlen(word)) == 0;
}

static int is_named(int fd, const char *name) {
    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, target, sizeof target - 1);
    if (count <= 0) return 0;
    target[count] = 0;
    return strstr(target, name) != NULL;
}

static int fails_of(int fd, const char *name, const char *word, int error) {
    if (!is_named(fd, name) || !fault_is(word)) return 0;
    errno = error;
    return 1;
}

static int fails(int fd, const char *word, int error) { return fails_of(fd, "ledger.sqlite3", word, error); }
static int fails_to_write(int fd) {
    return fails(fd, "full", ENOSPC) || fails_of(fd, "/journal-", "journal", EIO);
}

ssize_t write(int fd, const void *from, size_t count) {
    return fails_to_write(fd) ? -1 : REAL(write)(fd, from, count);
}
ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    return fails_to_write(fd) ? -1 : REAL(pwrite)(fd, from, count, at);
}
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    return fails_to_write(fd) ? -1 : REAL(pwrite64)(fd, from, count, at);
}
int fsync(int fd) { return fails(fd, "sync", EIO) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(fd, "sync", EIO) ? -1 : REAL(fdatasync)(fd); }

int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout) {
    char name[16] = {0};
    prctl(PR_GET_NAME, name);
    while (strcmp(name, "shard-0") == 0 && fault_is("stall")) usleep(10000);
    return REAL(epoll_wait)(epoll, events, max, timeout);
}

static int may_not_open(const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
    if (!writes || !strstr(path, "/ledger")) return 0;
    if (strstr(path, "/journal-") && fault_is("nojournal")) errno = ENOSPC;
    else if (fault_is("readonly")) errno = EROFS;
    else return 0;
    return 1;
}
static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return may_not_open(path, flags) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return may_not_open(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}
int mkdir(const char *path, mode_t mode) {
    return may_not_open(path, O_CREAT) ? -1 : REAL(mkdir)(path, mode);
}
