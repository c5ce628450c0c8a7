// Preloaded into a process: appends a line to the file $NETWORK_WATCH for each name looked up and each address outside
// this machine's own sockets that is connected to.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void note(const char *what, const char *detail) {
    const char *path = getenv("NETWORK_WATCH");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file == NULL) return;
    fprintf(file, "%s %s\n", what, detail ? detail : "");
    fclose(file);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t size) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6) note("connect", "");
    return real(descriptor, address, size);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    note("getaddrinfo", host);
    return real(host, service, hints, found);
}
