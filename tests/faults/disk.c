// Preloaded into a process: a disk that fails. disk_arm(kind, at, folder) makes the at-th system call that changes
// something below that folder fail, in one of these ways; disk_count() says how many there were so far.
//   1  no space: the write keeps half of its bytes, and nothing that needs space succeeds from there on
//   2  an I/O error, once
//   3  read-only, from there on
//   4  the process is killed in front of the call
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NO_SPACE = 1, IO_ERROR, READ_ONLY, KILLED };

static int kind, at, count;
static char watched[PATH_MAX];

void disk_arm(int how, int number, const char *folder) {
    kind = how, at = number, count = 0;
    snprintf(watched, sizeof watched, "%s", folder);
}

int disk_count(void) { return count; }

static int below(const char *path) {
    size_t length = strlen(watched);
    return length && strncmp(path, watched, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int path_below(int folder, const char *path) {
    char whole[2 * PATH_MAX], base[PATH_MAX], link[64];
    if (path == NULL) return 0;
    if (path[0] == '/') return below(path);
    if (folder == AT_FDCWD) {
        if (getcwd(base, sizeof base) == NULL) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return below(whole);
}

static int descriptor_below(int descriptor) {
    struct stat found;
    return watched[0] && fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode) && path_below(descriptor, ".");
}

// What this call is to end with: 0 as ever, -1 as ever with half of its bytes, else errno.
static int failure(int takes_space, int writes) {
    int number = ++count;
    if (at == 0 || number < at) return 0;
    switch (kind) {
    case NO_SPACE:
        if (!takes_space) return 0;
        return writes && number == at ? -1 : ENOSPC;
    case IO_ERROR:
        return number == at ? EIO : 0;
    case READ_ONLY:
        return EROFS;
    case KILLED:
        kill(getpid(), SIGKILL);
    }
    return 0;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSE(inside, space)                                                                                          \
    int failed = (inside) ? failure(space, 0) : 0;                                                                     \
    if (failed > 0) return errno = failed, -1

static size_t allowed(int descriptor, size_t size, int *failed) {
    *failed = descriptor_below(descriptor) ? failure(1, 1) : 0;
    return *failed == -1 ? size / 2 : size;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    REAL(write);
    int failed;
    size = allowed(descriptor, size, &failed);
    return failed > 0 ? (errno = failed, -1) : real(descriptor, bytes, size);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
    REAL(pwrite64);
    int failed;
    size = allowed(descriptor, size, &failed);
    return failed > 0 ? (errno = failed, -1) : real(descriptor, bytes, size, offset);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    return pwrite64(descriptor, bytes, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    REAL(writev);
    int failed = descriptor_below(descriptor) ? failure(1, 1) : 0;
    if (failed == -1) return write(descriptor, parts[0].iov_base, parts[0].iov_len / 2);
    return failed > 0 ? (errno = failed, -1) : real(descriptor, parts, number);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    REAL(sendfile);
    int failed;
    size = allowed(to, size, &failed);
    return failed > 0 ? (errno = failed, -1) : real(to, from, offset, size);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) { return sendfile(to, from, offset, size); }

ssize_t copy_file_range(int from, off64_t *start, int to, off64_t *place, size_t size, unsigned flags) {
    REAL(copy_file_range);
    int failed;
    size = allowed(to, size, &failed);
    return failed > 0 ? (errno = failed, -1) : real(from, start, to, place, size, flags);
}

#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))
#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    REAL(open);
    MODE(flags);
    REFUSE(CHANGES(flags) && path_below(AT_FDCWD, path), flags & O_CREAT);
    return real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    MODE(flags);
    REFUSE(CHANGES(flags) && path_below(AT_FDCWD, path), flags & O_CREAT);
    return real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags);
    REFUSE(CHANGES(flags) && path_below(folder, path), flags & O_CREAT);
    return real(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags);
    REFUSE(CHANGES(flags) && path_below(folder, path), flags & O_CREAT);
    return real(folder, path, flags, mode);
}

FILE *fopen(const char *path, const char *how) {
    REAL(fopen);
    int failed = how[0] != 'r' && path_below(AT_FDCWD, path) ? failure(1, 0) : 0;
    return failed > 0 ? (errno = failed, NULL) : real(path, how);
}

FILE *fopen64(const char *path, const char *how) {
    REAL(fopen64);
    int failed = how[0] != 'r' && path_below(AT_FDCWD, path) ? failure(1, 0) : 0;
    return failed > 0 ? (errno = failed, NULL) : real(path, how);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    REFUSE(path_below(AT_FDCWD, path), 1);
    return real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    REFUSE(path_below(folder, path), 1);
    return real(folder, path, mode);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    REFUSE(path_below(AT_FDCWD, to), 0);
    return real(from, to);
}

int renameat(int one, const char *from, int two, const char *to) {
    REAL(renameat);
    REFUSE(path_below(two, to), 0);
    return real(one, from, two, to);
}

int renameat2(int one, const char *from, int two, const char *to, unsigned flags) {
    REAL(renameat2);
    REFUSE(path_below(two, to), 0);
    return real(one, from, two, to, flags);
}

int link(const char *from, const char *to) {
    REAL(link);
    REFUSE(path_below(AT_FDCWD, to), 1);
    return real(from, to);
}

int symlink(const char *from, const char *to) {
    REAL(symlink);
    REFUSE(path_below(AT_FDCWD, to), 1);
    return real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    REFUSE(path_below(AT_FDCWD, path), 0);
    return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    REFUSE(path_below(folder, path), 0);
    return real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    REFUSE(path_below(AT_FDCWD, path), 0);
    return real(path);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    REFUSE(path_below(AT_FDCWD, path), 0);
    return real(path, mode);
}

int fsync(int descriptor) {
    REAL(fsync);
    REFUSE(descriptor_below(descriptor), 1);
    return real(descriptor);
}

int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64);
    REFUSE(descriptor_below(descriptor), 1);
    return real(descriptor, size);
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }
