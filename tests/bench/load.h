/* What the parts of the load generator share: load.c (where to read first), messages.c, server.c, client.c, day.c. */
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    DIGITS = 10,           /* of a message number */
    STAMP = 19,            /* digits of a time in nanoseconds */
    CHUNK = 256 * 1024,    /* one read; several 64 KiB frames */
    HOLD = 256,            /* longest message that is gathered whole before it is looked at */
    MAX_BURST = 64,        /* messages per write */
    MAX_FDS = 8192,
    PATIENCE = 20,         /* seconds the client waits for anything: a relay that hangs must fail, not stay */
    LIFETIME = 150         /* seconds until the client is killed whatever happens */
};

void die(const char *format, ...);
uint64_t nanoseconds(void);                /* CLOCK_MONOTONIC: client and gateway have the same one */
double seconds(void);

/* ---- messages.c */

/* With its length prefix; ..._at 0: it has none. */
typedef struct { unsigned char *bytes; size_t len, number_at, stamp_at, check_at; } Message;
typedef struct { Message m[2]; int n; } Kind;                              /* messages of one stream, taken in turn */
typedef struct { Kind *kind; uint64_t next, end; size_t off; } Cursor;     /* `off` bytes of message `next` are done */
typedef struct { Cursor c; int burst; unsigned char batch[MAX_BURST * 64]; size_t batch_len, batch_off; } Outflow;

#define CLIENT_HELLO "API\0\0\0\0\x09v100..176"
#define CLIENT_HELLO_LEN (sizeof CLIENT_HELLO - 1)
extern Message server_hello, start_api, accounts, next_valid_id, request, timed;
extern Kind ticks, cancels, times, orders, bars;

void make_messages(void);
Message message(const char *text, size_t size);
void set_order_size(size_t size);
void set_bar_size(size_t size);
void set_number(Message *m, uint64_t number);
void set_stamp(Message *m, uint64_t time);
uint64_t stamp_of(const Message *m, const unsigned char *frame);   /* 0: not one that `set_stamp` wrote */
Message *current(Cursor *c);
void advance(Cursor *c, size_t n);
int continues(Cursor *c, const unsigned char *p, size_t n);
int pump(Outflow *o, int fd, int writes);
void set_up(int fd);

/* ---- day.c: what happens at its time */

typedef struct { uint64_t due, left, gap, random; } Clock;   /* the next of `left` moments; `gap` ns apart on average */

void clock_start(Clock *c, uint64_t count, uint64_t gap, uint64_t seed);
void clock_next(Clock *c);
void arm(int timer, uint64_t due);
int new_timer(int poller);
void live(long sessions, uint64_t tick_count, uint64_t tick_gap, long asks, uint64_t ask_gap, uint64_t seed);

/* ---- server.c, client.c */

int run_server(void);
int run_client(char **argv);
int open_session(void);
void close_session(int fd);
void say(int fd, const void *bytes, size_t n);
size_t hear(int fd, void *into, size_t size);
int await(int poller, struct epoll_event *ready, int room);
double begin(void);
void sample(int set, double value);          /* set 0 is reported as p50, p99, p999; set 1 as tick_p50 ... */
void result(double took, double count, double bytes);
