/* Load generator and gateway in one program: real IB API framing, every byte checked at the far end.
 *
 *   load exec CPUS COMMAND...            pin to CPUS ("0,2"; "-" = no pinning), die with the parent, run COMMAND
 *   load server                          a gateway on 127.0.0.1; prints "port N"; ends when its stdin does
 *   load client PORT WHAT COUNT A        WHAT and A as in the table at the bottom; speaks through whatever is at PORT
 *
 * A session starts as a real one does: `API\0` and a version range, a server hello (176), START_API, MANAGED_ACCTS and
 * NEXT_VALID_ID; then length-prefixed frames with text ids. All streams are made of numbered messages: the number is ten
 * digits inside each message, so that loss, repetition, reordering and corruption all differ from what the receiver
 * expects. A receiver that sees a wrong byte says so on stderr; the client exits 1, the server resets the connection.
 *
 * The client prints "ready" when its sessions stand, waits for a line, works, prints "name=value ..." and waits for
 * another line before it closes: between those lines the caller reads CPU times and memory of living processes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    DIGITS = 10,           /* of a message number */
    CHUNK = 256 * 1024,    /* one read; several 64 KiB frames */
    HOLD = 256,            /* longest message that is gathered whole before it is looked at */
    MAX_BURST = 64,        /* messages per write */
    MAX_FDS = 8192,
    PATIENCE = 20,         /* seconds the client waits for anything: a relay that hangs must fail, not stay */
    LIFETIME = 150         /* seconds until the client is killed whatever happens */
};

static void die(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    exit(1);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

typedef struct { unsigned char *bytes; size_t len, number_at; } Message;   /* with its length prefix; number_at 0: none */
typedef struct { Message m[2]; int n; } Kind;                              /* messages of one stream, taken in turn */
typedef struct { Kind *kind; uint64_t next, end; size_t off; } Cursor;     /* `off` bytes of message `next` are done */

/* Text as ib-wire writes it, `|` for NUL and `#` x 10 for the number; `size` > 0 pads with plausible fields. */
static Message message(const char *text, size_t size) {
    size_t len = strlen(text), total = size > len + 4 ? size : len + 4;
    unsigned char *bytes = malloc(total);
    uint32_t noise = 12345, prefix = htonl(total - 4);
    memcpy(bytes, &prefix, 4);
    memcpy(bytes + 4, text, len);
    for (size_t i = 4 + len; i < total; i++) {
        noise = noise * 1103515245 + 12345;
        bytes[i] = i % 11 == 10 || i == total - 1 ? '|' : '0' + (noise >> 16) % 10;
    }
    for (size_t i = 4; i < total; i++)
        if (bytes[i] == '|') bytes[i] = 0;
    unsigned char *number = memmem(bytes, total, "##########", DIGITS);
    return (Message){bytes, total, number ? number - bytes : 0};
}

static void set_number(Message *m, uint64_t number) {
    uint32_t low = number;
    for (int i = DIGITS - 1; i >= 0; i--, low /= 10) m->bytes[m->number_at + i] = '0' + low % 10;
}

static Message *current(Cursor *c) {
    Message *m = &c->kind->m[c->next % c->kind->n];
    if (c->off < m->number_at + DIGITS) set_number(m, c->next);
    return m;
}

static void advance(Cursor *c, size_t n) {
    c->off += n;
    if (c->off == c->kind->m[c->next % c->kind->n].len) c->next++, c->off = 0;
}

/* Do the n bytes at p continue the stream? */
static int continues(Cursor *c, const unsigned char *p, size_t n) {
    while (n) {
        if (c->next == c->end) return 0;
        Message *m = current(c);
        size_t take = m->len - c->off < n ? m->len - c->off : n;
        if (memcmp(m->bytes + c->off, p, take)) return 0;
        advance(c, take);
        p += take, n -= take;
    }
    return 1;
}

#define CLIENT_HELLO "API\0\0\0\0\x09v100..176"
#define CLIENT_HELLO_LEN (sizeof CLIENT_HELLO - 1)
static Message server_hello, start_api, accounts, next_valid_id, request;
static Kind ticks, cancels, times, orders, bars;   /* orders and bars get their size when it is known */

static void make_messages(void) {
    server_hello = message("176|20250102 09:30:00 EST|", 0);
    start_api = message("71|2|7||", 0);
    accounts = message("15|1|DU1234567|", 0);
    next_valid_id = message("9|1|1|", 0);
    request = message("49|1|", 0);                                                            /* REQ_CURRENT_TIME */
    times = (Kind){{message("49|1|##########|", 0)}, 1};                                      /* CURRENT_TIME */
    ticks = (Kind){{message("1|6|10000001|1|5012.2500|##########|1|", 0),                     /* TICK_PRICE, 42 bytes */
                    message("2|6|10000001|5|##########|", 0)}, 2};                            /* TICK_SIZE, 30 bytes */
    cancels = (Kind){{message("4|1|##########|20250102 09:30:00|", 0)}, 1};                   /* CANCEL_ORDER, 37 bytes */
}

static void set_size(Kind *kind, const char *text, size_t size) {
    if (!kind->n || kind->m[0].len != size) free(kind->m[0].bytes), *kind = (Kind){{message(text, size)}, 1};
}
static void set_order_size(size_t size) { set_size(&orders, "3|##########|265598|", size); }  /* PLACE_ORDER */
static void set_bar_size(size_t size) { set_size(&bars, "17|##########|", size); }            /* HISTORICAL_DATA */

static void set_up(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* As many writes of up to `burst` messages as the socket takes, at most `writes`; -1 as from send(). */
typedef struct { Cursor c; int burst; unsigned char batch[MAX_BURST * 64]; size_t batch_len, batch_off; } Outflow;

static int pump(Outflow *o, int fd, int writes) {
    while (writes-- && (o->c.next < o->c.end || o->batch_off < o->batch_len)) {
        const unsigned char *p;
        size_t n;
        if (o->burst == 1) {
            Message *m = current(&o->c);
            p = m->bytes + o->c.off, n = m->len - o->c.off;
        } else {
            if (o->batch_off == o->batch_len) {
                o->batch_off = o->batch_len = 0;
                for (int i = 0; i < o->burst && o->c.next < o->c.end; i++) {
                    Message *m = current(&o->c);
                    memcpy(o->batch + o->batch_len, m->bytes, m->len);
                    o->batch_len += m->len;
                    advance(&o->c, m->len);
                }
            }
            p = o->batch + o->batch_off, n = o->batch_len - o->batch_off;
        }
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0) return -1;
        if (o->burst == 1) advance(&o->c, sent);
        else o->batch_off += sent;
    }
    return 0;
}

/* ---- server --------------------------------------------------------------------------------------------------- */

typedef struct {
    int fd, phase;                  /* 0 client hello, 1 START_API, 2 session */
    uint64_t frames;                /* after START_API; the answer to a time request carries it */
    unsigned char hold[HOLD];
    size_t held;
    Cursor orders_in, cancels_in;
    Outflow out;
    int pumping;
} Conn;

static Conn *conns[MAX_FDS];
static int poller;

static void drop(Conn *c, const char *why) {
    if (why) {
        struct linger now = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        fprintf(stderr, "gateway: %s, in phase %d after %llu frames\n", why, c->phase, (unsigned long long)c->frames);
    }
    conns[c->fd] = NULL;
    close(c->fd);
    free(c);
}

static const char *reply(Conn *c, const Message *a, const Message *b) {
    unsigned char out[HOLD];
    size_t n = a->len + (b ? b->len : 0);
    memcpy(out, a->bytes, a->len);
    if (b) memcpy(out + a->len, b->bytes, b->len);
    return send(c->fd, out, n, MSG_NOSIGNAL) == (ssize_t)n ? NULL : "an answer could not be sent whole";
}

static const char *start_stream(Conn *c, Kind *kind, uint64_t count, int burst) {
    if (burst < 1 || burst > MAX_BURST) return "burst out of range";
    c->out = (Outflow){.c = {kind, 0, count, 0}, .burst = burst};
    c->pumping = 1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.fd = c->fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
    return NULL;
}

/* One whole frame of a session. A returned text is a complaint. */
static const char *answer(Conn *c, const unsigned char *frame, size_t len) {
    char text[HOLD];
    unsigned long long count;
    unsigned number;
    for (size_t i = 4; i < len; i++) text[i - 4] = frame[i] ? frame[i] : '|';
    text[len - 4] = 0;
    c->frames++;
    if (text[0] == '4' && text[1] == '|') return continues(&c->cancels_in, frame, len) ? NULL : "wrong bytes in a stream up";
    if (len == request.len && !memcmp(frame, request.bytes, len)) {
        Message *m = &times.m[0];
        set_number(m, c->frames);
        return reply(c, m, NULL);
    }
    if (sscanf(text, "20|%llu|%u|", &count, &number) == 2) {
        set_bar_size(number);
        return start_stream(c, &bars, count, 1);
    }
    if (sscanf(text, "1|11|%llu|%u|", &count, &number) == 2) return start_stream(c, &ticks, count, number);
    return "a message nobody sent";
}

/* How many bytes must be held before `hold` can be judged. */
static size_t wanted(Conn *c) {
    if (c->phase == 0) return CLIENT_HELLO_LEN;
    if (c->held < 8) return 8;
    uint32_t len;
    memcpy(&len, c->hold, 4);
    return 4 + (size_t)ntohl(len);
}

static const char *judge(Conn *c) {
    size_t len = c->held;
    c->held = 0;
    if (c->phase == 2) return answer(c, c->hold, len);
    const char *expected = c->phase ? (char *)start_api.bytes : CLIENT_HELLO;
    if (memcmp(c->hold, expected, len)) return "wrong bytes in the handshake";
    c->phase++;
    return c->phase == 1 ? reply(c, &server_hello, NULL) : reply(c, &accounts, &next_valid_id);
}

/* Bytes from the client. PLACE_ORDER frames are large and checked as they come; all others are gathered first. */
static const char *receive(Conn *c, const unsigned char *p, size_t n) {
    while (n) {
        size_t take;
        if (c->orders_in.off) {
            Cursor *in = &c->orders_in;
            take = orders.m[0].len - in->off < n ? orders.m[0].len - in->off : n;
            if (!continues(in, p, take)) return "wrong bytes in bulk up";
            if (!in->off) c->frames++;
        } else {
            size_t want = wanted(c);
            if (c->phase == 2 && c->held == 8 && c->hold[4] == '3' && !c->hold[5]) {
                if (want > 4 + 0xFFFFFF) return "a frame over the limit";
                set_order_size(want);
                c->held = 0;
                if (!continues(&c->orders_in, c->hold, 8)) return "wrong bytes in bulk up";
                continue;
            }
            if (want > HOLD || want < c->held) return "a frame of a length nobody sent";
            take = want - c->held < n ? want - c->held : n;
            memcpy(c->hold + c->held, p, take);
            c->held += take;
            const char *complaint = c->held == wanted(c) ? judge(c) : NULL;
            if (complaint) return complaint;
        }
        p += take, n -= take;
    }
    return NULL;
}

static void serve(int fd, unsigned events) {
    static unsigned char chunk[CHUNK];
    Conn *c = conns[fd];
    if (!c) return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        ssize_t n = recv(fd, chunk, CHUNK, 0);
        if (n < 0 && errno != EAGAIN) return drop(c, c->pumping ? strerror(errno) : NULL);
        if (n == 0) return drop(c, c->held || c->orders_in.off || c->pumping ? "closed in mid message" : NULL);
        const char *complaint = n > 0 ? receive(c, chunk, n) : NULL;
        if (complaint) return drop(c, complaint);
    }
    if (c->pumping && pump(&c->out, fd, 256) < 0 && errno != EAGAIN) return drop(c, strerror(errno));
    if (c->pumping && c->out.c.next == c->out.c.end && c->out.batch_off == c->out.batch_len) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_MOD, fd, &e);
        c->pumping = 0;
    }
}

static void welcome(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FDS) die("too many connections");
        Conn *c = conns[fd] = calloc(1, sizeof *c);
        c->fd = fd;
        c->orders_in = (Cursor){&orders, 0, UINT64_MAX, 0};
        c->cancels_in = (Cursor){&cancels, 0, UINT64_MAX, 0};
        set_up(fd);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static int run_server(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (void *)&at, size) || listen(listener, 1024) || getsockname(listener, (void *)&at, &size))
        die("cannot listen: %s", strerror(errno));
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ready[256];
    struct epoll_event door = {.events = EPOLLIN, .data.fd = listener}, owner = {.events = EPOLLIN, .data.fd = 0};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &door);
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &owner);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == 0) return 0;
            if (ready[i].data.fd == listener) welcome(listener);
            else serve(ready[i].data.fd, ready[i].events);
        }
    }
}

/* ---- client --------------------------------------------------------------------------------------------------- */

static int port;
static double *samples;
static size_t sampled;

static int dial(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {PATIENCE, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || fd >= MAX_FDS || connect(fd, (void *)&at, sizeof at)) die("connect: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    set_up(fd);
    return fd;
}

static void say(int fd, const void *bytes, size_t n) {
    if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n) die("send: %s", strerror(errno));
}

static size_t hear(int fd, void *into, size_t size) {
    ssize_t n = recv(fd, into, size, 0);
    if (n < 0) die("recv: %s", errno == EAGAIN ? "no answer in 20 s" : strerror(errno));
    if (n == 0) die("recv: end of stream, an answer was due");
    return n;
}

static void expect(int fd, const Message *m) {
    unsigned char got[HOLD];
    for (size_t have = 0; have < m->len;) {
        size_t n = hear(fd, got + have, m->len - have);
        if (memcmp(got + have, m->bytes + have, n)) die("wrong bytes in an answer of %zu bytes", m->len);
        have += n;
    }
}

static int open_session(void) {
    int fd = dial();
    say(fd, CLIENT_HELLO, CLIENT_HELLO_LEN);
    expect(fd, &server_hello);
    say(fd, start_api.bytes, start_api.len);
    expect(fd, &accounts);
    expect(fd, &next_valid_id);
    return fd;
}

/* The orderly end: our FIN goes through, the gateway's FIN comes back, and not a byte before it. */
static void close_session(int fd) {
    unsigned char byte;
    shutdown(fd, SHUT_WR);
    if (recv(fd, &byte, 1, 0) != 0) die("session did not end clean: %s", errno ? strerror(errno) : "bytes too many");
    close(fd);
}

static void exchange(int fd, uint64_t number) {
    say(fd, request.bytes, request.len);
    set_number(&times.m[0], number);
    expect(fd, &times.m[0]);
}

static void wait_for_line(void) {
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(2);
}

static double begin(void) {
    puts("ready");
    fflush(stdout);
    wait_for_line();
    return seconds();
}

static int by_value(const void *a, const void *b) {
    double x = *(double *)a, y = *(double *)b;
    return (x > y) - (x < y);
}

static void result(double took, double count, double bytes) {
    printf("seconds=%.9f count=%.0f bytes=%.0f", took, count, bytes);
    if (sampled) {
        qsort(samples, sampled, sizeof *samples, by_value);
        printf(" p50=%.9f p99=%.9f", samples[sampled / 2], samples[sampled * 99 / 100]);
    }
    puts("");
    fflush(stdout);
    wait_for_line();
}

/* Send a stream and one time request behind it; its answer counts the frames the gateway has checked. */
static void up(Kind *kind, uint64_t count, int burst) {
    static Outflow o;
    int fd = open_session();
    double start = begin();
    o = (Outflow){.c = {kind, 0, count, 0}, .burst = burst};
    while (o.c.next < count || o.batch_off < o.batch_len)
        if (pump(&o, fd, 1024) < 0) die("send: %s", errno == EAGAIN ? "blocked for 20 s" : strerror(errno));
    exchange(fd, count + 1);
    double bytes = 0;
    for (int i = 0; i < kind->n; i++) bytes += (double)kind->m[i].len * count / kind->n;
    result(seconds() - start, count, bytes);
    close_session(fd);
}

static void down(Kind *kind, uint64_t count, const char *ask) {
    static unsigned char chunk[CHUNK];
    int fd = open_session();
    Message m = message(ask, 0);
    double start = begin(), bytes = 0;
    Cursor in = {kind, 0, count, 0};
    say(fd, m.bytes, m.len);
    while (in.next < count) {
        size_t n = hear(fd, chunk, CHUNK);
        if (!continues(&in, chunk, n)) die("wrong bytes near message %llu", (unsigned long long)in.next);
        bytes += n;
    }
    result(seconds() - start, count, bytes);
    close_session(fd);
}

static void bulk_up(long count, long size) { set_order_size(size), up(&orders, count, 1); }
static void stream_up(long count, long burst) { up(&cancels, count, burst); }

static void bulk_down(long count, long size) {
    char ask[64];
    snprintf(ask, sizeof ask, "20|%ld|%ld|", count, size);
    set_bar_size(size);
    down(&bars, count, ask);
}

static void stream_down(long count, long burst) {
    char ask[64];
    snprintf(ask, sizeof ask, "1|11|%ld|%ld|", count, burst);
    down(&ticks, count, ask);
}

static void round_trips(long count, long warm_up) {
    int fd = open_session();
    long k = 0;
    while (k < warm_up) exchange(fd, ++k);
    double start = begin(), last = start;
    for (long i = 0; i < count; i++) {
        exchange(fd, ++k);
        double now = seconds();
        samples[sampled++] = now - last, last = now;
    }
    result(last - start, count, 0);
    close_session(fd);
}

static void fan_out(long count, long parallel) {
    struct { Cursor in; double asked; } s[MAX_FDS];
    struct epoll_event ready[256];
    unsigned char got[HOLD];
    long each = count / parallel, left = each * parallel;
    int fds[MAX_FDS];
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < parallel; i++) {
        int fd = fds[i] = open_session();
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
        s[fd].in = (Cursor){&times, 1, each + 1, 0};
    }
    double start = begin(), now = start;
    for (long i = 0; i < parallel; i++) s[fds[i]].asked = start, say(fds[i], request.bytes, request.len);
    while (left) {
        int n = epoll_wait(poller, ready, 256, PATIENCE * 1000);
        if (n <= 0) die("fan-out: no answer in 20 s");
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            size_t have = hear(fd, got, sizeof got);
            uint64_t before = s[fd].in.next;
            if (!continues(&s[fd].in, got, have)) die("wrong bytes in an answer");
            if (s[fd].in.next == before) continue;
            now = seconds();
            samples[sampled++] = now - s[fd].asked, left--;
            if (s[fd].in.next < s[fd].in.end) s[fd].asked = now, say(fd, request.bytes, request.len);
        }
    }
    result(now - start, each * parallel, 0);
    for (long i = 0; i < parallel; i++) close_session(fds[i]);
}

/* Whole lives of connections, `parallel` at a time: connect, hello, server hello, FIN there, FIN back. */
static void connections(long count, long parallel) {
    struct { size_t have; double since; } s[MAX_FDS];
    struct epoll_event ready[256];
    unsigned char got[HOLD];
    long begun = 0, done = 0;
    poller = epoll_create1(EPOLL_CLOEXEC);
    double start = begin(), now = start;
    while (done < count) {
        while (begun < count && begun - done < parallel) {
            now = seconds();
            int fd = dial();
            struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
            s[fd].have = 0, s[fd].since = now, begun++;
            say(fd, CLIENT_HELLO, CLIENT_HELLO_LEN);
        }
        int n = epoll_wait(poller, ready, 256, PATIENCE * 1000);
        if (n <= 0) die("connections: no answer in 20 s");
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (s[fd].have == server_hello.len) {
                if (recv(fd, got, 1, 0) != 0) die("connection did not end clean");
                close(fd);
                now = seconds();
                samples[sampled++] = now - s[fd].since, done++;
                continue;
            }
            size_t have = hear(fd, got, server_hello.len - s[fd].have);
            if (memcmp(got, server_hello.bytes + s[fd].have, have)) die("wrong bytes in the server hello");
            s[fd].have += have;
            if (s[fd].have == server_hello.len) shutdown(fd, SHUT_WR);
        }
    }
    result(now - start, count, 0);
}

static void idle(long count, long unused) {
    int fds[MAX_FDS];
    (void)unused;
    for (long i = 0; i < count; i++) fds[i] = open_session();
    begin();
    for (long i = 0; i < count; i++) exchange(fds[i], 1);   /* idle is not dead */
    result(0, count, 0);
    for (long i = 0; i < count; i++) close_session(fds[i]);
}

static const struct { const char *name; void (*run)(long count, long a); } WHAT[] = {
    {"bulk_up", bulk_up},           /* COUNT frames of A bytes client to gateway */
    {"bulk_down", bulk_down},       /* the same, gateway to client */
    {"stream_up", stream_up},       /* COUNT small messages client to gateway, A per write */
    {"stream_down", stream_down},   /* COUNT ticks gateway to client, A per write */
    {"round_trips", round_trips},   /* COUNT request/answer pairs on one session, after A more to warm up */
    {"fan_out", fan_out},           /* COUNT of them in all, over A sessions at once */
    {"connections", connections},   /* COUNT connections from connect to both FINs, A at a time */
    {"idle", idle},                 /* COUNT sessions that say nothing */
};

static int run_client(char **argv) {
    port = atoi(argv[0]);
    long count = atol(argv[2]), a = atol(argv[3]);
    if (count < 1 || a < 0 || count > 1000000000) die("count or parameter out of range");
    samples = malloc(sizeof *samples * count);
    alarm(LIFETIME);
    for (size_t i = 0; i < sizeof WHAT / sizeof *WHAT; i++)
        if (!strcmp(argv[1], WHAT[i].name)) return WHAT[i].run(count, a), 0;
    die("no such work: %s", argv[1]);
    return 1;
}

static int run_pinned(char **argv) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (char *cpu = strtok(argv[0], ","); cpu && *cpu != '-'; cpu = strtok(NULL, ",")) CPU_SET(atoi(cpu), &set);
    if (CPU_COUNT(&set) && sched_setaffinity(0, sizeof set, &set)) die("pinning: %s", strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[1], argv + 1);
    die("%s: %s", argv[1], strerror(errno));
    return 1;
}

int main(int argc, char **argv) {
    make_messages();
    if (argc >= 4 && !strcmp(argv[1], "exec")) return run_pinned(argv + 2);
    if (argc == 2 && !strcmp(argv[1], "server")) return run_server();
    if (argc == 6 && !strcmp(argv[1], "client")) return run_client(argv + 2);
    fputs("usage: load exec CPUS COMMAND... | server | client PORT WHAT COUNT A\n", stderr);
    return 2;
}
