/* The numbered messages of all streams, and whether what arrives is what was sent. */
#include "load.h"

static size_t place(const unsigned char *bytes, size_t len, char mark, size_t times) {
    unsigned char marks[STAMP];
    memset(marks, mark, times);
    const unsigned char *found = memmem(bytes, len, marks, times);
    return found ? found - bytes : 0;
}

/* Text as ib-wire writes it: `|` for NUL, `#` x 10 for the number, `@` x 19 for a time, `^` x 19 for its check digits;
 * `size` > 0 pads with plausible fields. */
Message message(const char *text, size_t size) {
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
    return (Message){bytes, total, place(bytes, total, '#', DIGITS), place(bytes, total, '@', STAMP),
                     place(bytes, total, '^', STAMP)};
}

void set_number(Message *m, uint64_t number) {
    uint32_t low = number;
    for (int i = DIGITS - 1; i >= 0; i--, low /= 10) m->bytes[m->number_at + i] = '0' + low % 10;
}

void set_stamp(Message *m, uint64_t time) {
    for (int i = STAMP - 1; i >= 0; i--, time /= 10) {
        m->bytes[m->stamp_at + i] = '0' + time % 10;
        m->bytes[m->check_at + i] = '9' - time % 10;
    }
}

uint64_t stamp_of(const Message *m, const unsigned char *frame) {
    uint64_t time = 0;
    for (int i = 0; i < STAMP; i++) {
        unsigned char digit = frame[m->stamp_at + i], check = frame[m->check_at + i];
        if (digit < '0' || digit > '9' || digit + check != '0' + '9') return 0;
        time = time * 10 + digit - '0';
    }
    return time;
}

Message *current(Cursor *c) {
    Message *m = &c->kind->m[c->next % c->kind->n];
    if (c->off < m->number_at + DIGITS) set_number(m, c->next);
    return m;
}

void advance(Cursor *c, size_t n) {
    c->off += n;
    if (c->off == c->kind->m[c->next % c->kind->n].len) c->next++, c->off = 0;
}

/* Do the n bytes at p continue the stream? */
int continues(Cursor *c, const unsigned char *p, size_t n) {
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

Message server_hello, start_api, accounts, next_valid_id, request, timed;
Kind ticks, cancels, times, orders, bars;   /* orders and bars get their size when it is known */

void make_messages(void) {
    server_hello = message("176|20250102 09:30:00 EST|", 0);
    start_api = message("71|2|7||", 0);
    accounts = message("15|1|DU1234567|", 0);
    next_valid_id = message("9|1|1|", 0);
    request = message("49|1|", 0);                                                            /* REQ_CURRENT_TIME */
    times = (Kind){{message("49|1|##########|", 0)}, 1};                                      /* CURRENT_TIME */
    ticks = (Kind){{message("1|6|10000001|1|5012.2500|##########|1|", 0),                     /* TICK_PRICE, 42 bytes */
                    message("2|6|10000001|5|##########|", 0)}, 2};                            /* TICK_SIZE, 30 bytes */
    /* TICK_STRING with a last trade: price, size, time, volume, average, single; 87 bytes */
    timed = message("46|6|10000001|48|5012.25;1;@@@@@@@@@@@@@@@@@@@;##########;^^^^^^^^^^^^^^^^^^^;true|", 0);
    cancels = (Kind){{message("4|1|##########|20250102 09:30:00|", 0)}, 1};                   /* CANCEL_ORDER, 37 bytes */
}

static void set_size(Kind *kind, const char *text, size_t size) {
    if (!kind->n || kind->m[0].len != size) free(kind->m[0].bytes), *kind = (Kind){{message(text, size)}, 1};
}
void set_order_size(size_t size) { set_size(&orders, "3|##########|265598|", size); }  /* PLACE_ORDER */
void set_bar_size(size_t size) { set_size(&bars, "17|##########|", size); }            /* HISTORICAL_DATA */

void set_up(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* As many writes of up to `burst` messages as the socket takes, at most `writes`; -1 as from send(). */
int pump(Outflow *o, int fd, int writes) {
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
