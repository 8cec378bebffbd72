/* What happens at its time and not as fast as it can: ticks by the gateway's clock, requests by the client's.
 *
 * A timed tick carries when it was sent, twice: as CLOCK_MONOTONIC in nanoseconds, and as the complement of each digit,
 * so that a changed digit is found. All other bytes of it are known in advance, its number included.
 */
#include "load.h"
#include <math.h>

enum { MOST_ASKED = 1024 };   /* requests of one session under way */

/* xorshift64*: the same seed gives the same day to every relay. Seed 0: every gap the same. */
static uint64_t following(Clock *c) {
    if (!c->random) return c->gap;
    c->random ^= c->random >> 12, c->random ^= c->random << 25, c->random ^= c->random >> 27;
    double u = ((c->random * 0x2545F4914F6CDD1DULL >> 11) + 1) * 0x1p-53;   /* 0 < u <= 1 */
    return -log(u) * c->gap;   /* exponential: events that know of no others */
}

void clock_next(Clock *c) { c->left--, c->due += following(c); }

/* Exponential gaps are stretched until `count` of them, and the rest behind the last, fill count * gap exactly. */
void clock_start(Clock *c, uint64_t count, uint64_t gap, uint64_t seed) {
    *c = (Clock){nanoseconds(), count, gap, seed * 0x9E3779B97F4A7C15ULL};
    if (seed) {
        Clock trial = *c;
        double sum = 0;
        for (uint64_t i = 0; i <= count; i++) sum += following(&trial);
        c->gap = gap * (count * (double)gap / sum);
    }
    c->due += following(c);
}

int new_timer(int poller) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = timer};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e);
    return timer;
}

/* Wake at `due`, UINT64_MAX: not at all. A timerfd has no slack: it is late by microseconds. */
void arm(int timer, uint64_t due) {
    struct itimerspec at;
    memset(&at, 0, sizeof at);
    if (due != UINT64_MAX) at.it_value = (struct timespec){due / 1000000000, due % 1000000000};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- the client's side ---------------------------------------------------------------------------------------- */

typedef struct {
    int fd;
    uint64_t ticked, stamp, asked, answered, asked_at[MOST_ASKED];
    Clock asks;
    unsigned char held[HOLD];
    size_t have;
} Live;

static void take_frame(Live *s, const unsigned char *frame, size_t len, uint64_t now) {
    if (len == timed.len) {
        uint64_t sent = stamp_of(&timed, frame);
        if (sent < s->stamp || sent > now || !sent) die("the time of tick %d is wrong", (int)s->ticked);
        set_number(&timed, s->ticked++), set_stamp(&timed, s->stamp = sent);
        if (memcmp(frame, timed.bytes, len)) die("wrong bytes in tick %d", (int)s->ticked - 1);
        sample(1, (now - sent) * 1e-9);
        return;
    }
    Message *m = &times.m[0];
    if (s->answered == s->asked) die("an answer to nothing");
    sample(0, (now - s->asked_at[s->answered++ % MOST_ASKED]) * 1e-9);
    set_number(m, 1 + s->answered);   /* the first frame asked for ticks */
    if (len != m->len || memcmp(frame, m->bytes, len)) die("wrong bytes in an answer");
}

static void listen_to(Live *s) {
    static unsigned char chunk[CHUNK + HOLD];
    memcpy(chunk, s->held, s->have);
    size_t n = s->have + hear(s->fd, chunk + s->have, CHUNK), at = 0;
    uint64_t now = nanoseconds();
    while (n - at >= 4) {
        uint32_t prefix;
        memcpy(&prefix, chunk + at, 4);
        size_t len = 4 + (size_t)ntohl(prefix);
        if (len > HOLD) die("a frame of a length nobody sent");
        if (n - at < len) break;
        take_frame(s, chunk + at, len, now);
        at += len;
    }
    memcpy(s->held, chunk + at, s->have = n - at);
}

static uint64_t ask_what_is_due(Live *all, long sessions) {
    uint64_t next = UINT64_MAX;
    for (Live *s = all; s < all + sessions; s++) {
        while (s->asks.left && s->asks.due <= nanoseconds()) {
            if (s->asked - s->answered == MOST_ASKED) die("%d requests without an answer", MOST_ASKED);
            s->asked_at[s->asked++ % MOST_ASKED] = nanoseconds();
            say(s->fd, request.bytes, request.len);
            clock_next(&s->asks);
        }
        if (s->asks.left && s->asks.due < next) next = s->asks.due;
    }
    return next;
}

static Live *open_all(long sessions, int poller) {
    Live *all = calloc(sessions, sizeof *all);
    for (long i = 0; i < sessions; i++) {
        all[i].fd = open_session();
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = all + i};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &e);
    }
    return all;
}

/* Every session gets `tick_count` ticks and makes `asks` requests, `tick_gap` and `ask_gap` microseconds apart. */
void live(long sessions, uint64_t tick_count, uint64_t tick_gap, long asks, uint64_t ask_gap, uint64_t seed) {
    struct epoll_event ready[64];
    int poller = epoll_create1(EPOLL_CLOEXEC), timer = new_timer(poller);
    Live *all = open_all(sessions, poller);
    double start = begin();
    for (long i = 0; i < sessions; i++) {
        char ask[64];
        uint64_t own = seed ? seed * 1000 + i : 0;
        snprintf(ask, sizeof ask, "1|12|%llu|%llu|%llu|", (unsigned long long)tick_count, (unsigned long long)tick_gap,
                 (unsigned long long)own);
        Message m = message(ask, 0);
        say(all[i].fd, m.bytes, m.len);
        free(m.bytes);
        clock_start(&all[i].asks, asks, ask_gap * 1000, own ? own + 500 : 0);
    }
    for (uint64_t left = sessions * (tick_count + asks); left;) {
        arm(timer, ask_what_is_due(all, sessions));
        int n = await(poller, ready, 64);
        for (int i = 0; i < n; i++) {
            Live *s = ready[i].data.ptr;
            if (s < all || s >= all + sessions) continue;   /* the timer */
            uint64_t before = s->ticked + s->answered;
            listen_to(s);
            if (s->ticked > tick_count) die("more ticks than were asked for");
            left -= s->ticked + s->answered - before;
        }
    }
    result(seconds() - start, sessions * (tick_count + asks), 0);
    for (long i = 0; i < sessions; i++) close_session(all[i].fd);
}
