/* The gateway: answers requests, sends the streams that are asked for, checks every byte it gets. */
#include "load.h"

enum { MAX_TICKING = 64 };   /* sessions with timed ticks at one time */

typedef struct {
    int fd, phase;                  /* 0 client hello, 1 START_API, 2 session */
    uint64_t frames;                /* after START_API; the answer to a time request carries it */
    unsigned char hold[HOLD];
    size_t held;
    Cursor orders_in, cancels_in;
    Outflow out;
    int pumping;
    Clock clock;                    /* of timed ticks */
    uint64_t ticked;
} Conn;

static Conn *conns[MAX_FDS];
static int poller, timer;
static Conn *ticking[MAX_TICKING];
static int n_ticking;
static uint64_t armed = UINT64_MAX;

static void stop_ticking(Conn *c) {
    for (int i = 0; i < n_ticking; i++)
        if (ticking[i] == c) ticking[i--] = ticking[--n_ticking];
}

static void drop(Conn *c, const char *why) {
    if (why) {
        struct linger now = {1, 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        fprintf(stderr, "gateway: %s, in phase %d after %llu frames\n", why, c->phase, (unsigned long long)c->frames);
    }
    stop_ticking(c);
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

static const char *start_ticking(Conn *c, uint64_t count, uint64_t gap, uint64_t seed) {
    if (n_ticking == MAX_TICKING || c->clock.left) return "too many that tick";
    clock_start(&c->clock, count, gap * 1000, seed);
    ticking[n_ticking++] = c;
    return NULL;
}

/* Send what is due; the timer is set for what comes next. */
static void tick(void) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < n_ticking; i++) {
        Conn *c = ticking[i];
        while (c->clock.left && c->clock.due <= nanoseconds()) {
            set_number(&timed, c->ticked++);
            clock_next(&c->clock);
            set_stamp(&timed, nanoseconds());
            if (send(c->fd, timed.bytes, timed.len, MSG_NOSIGNAL) == (ssize_t)timed.len) continue;
            drop(c, "a tick could not be sent whole");
            return tick();
        }
        if (!c->clock.left) stop_ticking(c), i--;
        else if (c->clock.due < next) next = c->clock.due;
    }
    if (next != armed) arm(timer, armed = next);
}

/* One whole frame of a session. A returned text is a complaint. */
static const char *answer(Conn *c, const unsigned char *frame, size_t len) {
    char text[HOLD];
    unsigned long long count, gap, seed;
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
    if (sscanf(text, "1|12|%llu|%llu|%llu|", &count, &gap, &seed) == 3) return start_ticking(c, count, gap, seed);
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
        int owed = c->held || c->orders_in.off || c->pumping || c->clock.left;
        if (n == 0) return drop(c, owed ? "closed in mid message" : NULL);
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

int run_server(void) {
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
    timer = new_timer(poller);
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == 0) return 0;
            if (ready[i].data.fd == timer) armed = 0;   /* it has to be set again, whatever to */
            else if (ready[i].data.fd == listener) welcome(listener);
            else serve(ready[i].data.fd, ready[i].events);
        }
        tick();
    }
}
