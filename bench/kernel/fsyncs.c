// Counts fsync and fdatasync of the process it is preloaded into: LD_PRELOAD=fsyncs.so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>

static atomic_long calls;

long cabin_fsyncs(void) { return atomic_load(&calls); }

static int pass(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    atomic_fetch_add(&calls, 1);
    return real(fd);
}

int fsync(int fd) { return pass("fsync", fd); }
int fdatasync(int fd) { return pass("fdatasync", fd); }
