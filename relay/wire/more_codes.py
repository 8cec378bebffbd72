"""What the other codes of ERR_MSG mean, in our words: about one request or order, or made by the client library.

Those that say something of a connection are in codes.py, which gives each of these its class by its number. Source:
IBKR's published message code table; 2148, 10275, 10349, 2174, 2176 and 2187 from public logs and client libraries.
"""

from __future__ import annotations

from collections.abc import Iterator


def more_codes() -> Iterator[tuple[int, str]]:
    """Each code once, with its meaning."""
    for line in filter(None, (_ORDERS + _REQUESTS + _OF_CLIENTS + _WARNINGS + _LATER).splitlines()):
        code, _, meaning = line.partition(" ")
        yield int(code), meaning
    for code in (*range(510, 517), 518, 519, *range(521, 550), *range(551, 579), *range(580, 585), 587, 589):
        yield code, "client: could not send a request; the text says which"


_ORDERS = """
101 as many market data subscriptions are open as are allowed
102 request id already used for market data
103 order id already used, or lower than one used before
104 a filled order cannot be changed
105 a changed order differs from the first one in what may not change
106 order cannot be sent under this id
107 order is incomplete
109 order price is too far from the market for the gateway's own limit
110 order price is no multiple of the contract's price step
111 time in force does not go with this order type
113 orders at the close need time in force DAY
114 relative orders are for stocks
115 relative orders are for US stocks
116 order cannot go to an exchange that is gone
117 block order is too small
118 VWAP orders go through the VWAP exchange
119 the VWAP exchange takes VWAP orders only
120 too late for a VWAP order
121 BD flag of the order is not valid
122 no request tag for this order
123 no record of this contract id
124 no market rule for this contract id
125 buy price must be the best ask
126 sell price must be the best bid
129 VWAP order comes too late before its start
131 sweep-to-fill and display size are for US stocks
132 order needs a clearing account
133 new order could not be placed
134 order could not be changed
135 no order with this id
136 order can no longer be cancelled
137 too late to cancel a VWAP order
138 request for market data could not be read
139 request could not be read
140 size must be a whole number
141 price must be a number
142 institutional account lacks account details
143 id must be a whole number
144 order size differs from the sum of its allocation
145 a field of the order is not valid
146 trigger method is not valid
147 account details of a conditional order are incomplete
148 a conditional order needs an order type
151 order needs a user name
152 order cannot be hidden
153 exchange for physical needs a limit order
154 the contract is halted
155 size-op order needs user name and account
156 size-op order goes to IBSX
157 display size and discretionary amount exclude each other
158 trailing order needs an amount or a percentage
159 percentage must be from 0 to 100
160 size cannot be zero
161 order is in no state in which it can be cancelled
163 order price is outside of the percentage that the order settings allow
164 no market data by which to check the order price
166 no historical data for a contract that has expired so long ago
167 VWAP order time has passed
168 discretionary amount is no multiple of the price step
203 contract is not open to this account, or not clear without its currency
"""

_REQUESTS = """
300 no market data subscription with this id
301 action of the market data request is not valid
302 ticker string to stop could not be read
303 order action is not valid for this account
304 action of the account value request is not valid
305 request could not be read, and is ignored
306 DDE request could not be processed
307 topic of the request is not valid
308 the platform has no room for another API page
309 as many market depth subscriptions are open as are allowed
310 no market depth subscription with this id
311 origin of the order is not valid
312 combination is not valid
313 a leg of the combination is not valid
314 security type BAG needs legs
315 stock combinations go through SMART only
316 market depth has stopped
317 market depth starts anew: rows received so far are void
319 log level is not from 1 to 5
320 gateway could not read a request
322 gateway could not process a request; the text says why
323 gateway could not carry out a request; the text says why
324 DDE request lacks something
325 no discretionary orders for this exchange and order type
327 binding of orders placed by hand is for client id 0
328 trailing stop can be attached to limit and stop-limit orders only
329 order cannot change to this type
330 list of managed accounts is for advisors only
331 advisor has no managed accounts
332 account codes of the order profile are not valid
333 share allocation could not be read
334 good-till date is not valid
335 delta must be from 0 to 100
336 time or time zone is not valid
337 date, time or time zone is not valid
338 exchange takes no good-after-time orders now
339 futures spreads have become combinations
340 improvement of a box auction is not valid
341 delta must be from 1 to 100
342 exchange takes no pegged orders
343 date, time or time zone is not valid
344 account is not an advisor's
345 no generic combinations for advisors
346 account is not institutional
347 short sale slot must be 1 or 2
348 short sale slot needs action SSHORT
349 generic combinations take no good-after time
350 best combination order takes no minimum quantity
351 order cannot be limited to regular hours
352 short sale slot 2 needs a location
353 short sale slot 1 takes no location
355 order size breaks the market rule of the contract
356 smart combination takes no OCA group
358 smart combination takes no child order
359 combination takes only one OCA type
360 no what-if check for a smart combination
361 trigger price is not valid
362 adjusted stop price is not valid
363 adjusted stop limit price is not valid
364 adjusted trailing amount is not valid
365 no scanner subscription with this id
367 volatility type must be 1 or 2, for VOL orders only
368 reference price type must be 1 or 2, for VOL orders only
369 volatility orders are for US options
370 dynamic volatility order needs SMART or a price improvement exchange
371 VOL order needs a positive volatility
372 dynamic volatility is for VOL orders
373 stock range is for VOL and relative-to-stock orders
374 lower end of the stock range is above the upper
375 stock range cannot be negative
376 order cannot be updated continuously
377 delta hedge price is not valid
378 delta hedge needs a price
379 delta hedge takes no price
380 order type is not allowed for a delta hedge
381 DDE library is too old
382 order price is more steps from the market than the order settings allow
383 order size is larger than the order settings allow
384 DDE array request is not valid
385 request id already used by a scanner
387 order type is not there for this exchange and security type
388 order is smaller than allowed
389 routed order id is not unique
390 routed order id is not valid
391 time or time zone is not valid
392 contract has expired
393 short sale slot is for delta hedge orders only
394 process time must be from 100 to 2000 ms
395 no OCA groups for now: trouble at IB
396 only market and limit orders for now: trouble at IB
397 only market and limit orders for now: trouble at IB
398 this cannot trigger a condition
399 note about an order; the text says what
400 algo order is wrong; the text says why
401 a text is too long
402 no conditions for this contract
403 stop price is not valid
404 order is held until shares can be borrowed
405 child order has another size than its parent
406 currency is not allowed
407 symbol has characters that are not allowed
408 scale increment is not valid
409 scale order needs a component size
410 later component size of the scale order is not valid
411 order cannot run outside of regular hours
412 contract cannot be traded now
413 what-if order needs its transmit flag
414 a snapshot takes no generic ticks
415 another request for quotes is still open
416 no request for quotes for this contract
417 first component size of the scale order is not valid
418 profit offset of the scale order is not valid
419 scale order needs a first component size
421 route is not valid
422 account and clearing of an order cannot be changed
423 request for quotes of a cross order has expired
424 advisor's order needs an allocation
425 advisor's order needs an allocation by account
426 no account has enough shares
427 fund order needs an amount of money
428 sale of a fund needs a number of shares
429 delta neutral orders are for combinations
430 no fundamental data for this contract
431 kind of data (what to show) is missing or not valid
432 commission cannot be negative
433 restored size of a scale order is not valid for several accounts
434 order size cannot be zero
435 request must name one account
436 order must name an account or a group
437 outside regular hours and pre-open exclude each other
438 the platform is locked
439 algorithm is not known
440 algorithm of an order cannot be changed
441 settings of the algorithm are not valid
442 algorithm is not allowed for this order
443 algorithm has no such setting
444 volatility combination is not accepted yet, and cannot be changed
445 request for quotes is no longer valid
446 scale order needs a profit offset
447 scale order needs a price adjustment and an interval
448 scale interval is not valid
449 scale adjustment is not expected here
460 no permission to trade this
478 contract id and other fields of the contract contradict each other
481 order size was reduced
492 scanner needs more data subscriptions to be exact
"""

_OF_CLIENTS = """
517 client: contract is not known
585 client: advisor profiles have become groups
586 client: not connected any more
"""

_WARNINGS = """
2102 order is still in work, and cannot be changed yet
2111 times of an algo order were moved to the next trading day
2130 product trades on a price with a factor
2137 order turns the position from long to short, or back
2148 margin may not suffice
2152 exchanges of the combined market depth
2168 order attribute eTradeOnly is no longer known
2169 order attribute firmQuoteOnly is no longer known
2174 time without a time zone: give one
2176 size was rounded: the client is too old for fractional shares
2187 some generic ticks are not there in delayed data
"""

_LATER = """
10000 combination over several currencies is wrong
10001 volatility over several currencies is wrong
10002 legs that are not guaranteed are not valid
10003 IBSX is not allowed
10005 models are read-only
10006 parent order is not known
10007 hedge type is not valid
10008 beta is not valid
10009 hedge ratio is not valid
10010 delta hedge order is not valid
10011 smart combination does not take this currency
10012 allocation percentage is not valid
10013 order needs to opt out of smart routing
10015 trading by API is not allowed
10018 note about orders and economic value
10019 note about trades and economic value
10020 display size must be below the order size
10147 order to cancel was not found
10148 order to cancel is in a state in which it cannot be
10187 no permission for historical ticks
10189 tick-by-tick data refused: no permission, or another session has them
10190 as many tick-by-tick subscriptions are open as are allowed
10225 a trade was annulled, and real-time bars have ended
10230 advisor's changes are not saved yet
10231 advisor's groups have accounts that are not valid
10233 order took defaults from a preset
10234 order must name who decided
10235 order must name who decided
10236 child must be all-or-none as its parent is
10237 all-or-none order goes as a whole only
10238 advisor settings could not be reached
10239 order meets an account that is marked for its risk score
10240 price cap is not valid
10241 order in money cannot be changed by API
10242 fractional order cannot be changed by API
10243 fractional order cannot be placed by API
10244 order takes no cash quantity
10245 contract has no fractional shares
10246 order takes no fractional shares
10247 fractional shares need SMART
10248 account may not trade fractional shares
10249 order type takes no fractional shares
10250 size is no multiple of the contract's size step
10251 allocation takes no fractional shares
10252 fractional shares only to close a position
10253 no such orders for combinations with a hedge
10254 bond has expired
10268 order attribute eTradeOnly is no longer known
10269 order attribute firmQuoteOnly is no longer known
10270 order attribute nbboPriceCap is no longer known
10275 no positions for this account: it is not open yet
10276 news of this kind are not allowed
10277 news of this kind need a subscription
10278 same WSH request is still open
10279 WSH descriptions could not be had
10280 WSH descriptions could not be cancelled
10281 same WSH request is still open
10282 WSH descriptions must be asked for first
10283 WSH events could not be had
10284 WSH events could not be cancelled
10285 client is too old for fractional sizes: version 163 is needed
10286 a field has too many decimals
10287 crypto order is not confirmed
10288 crypto market order wants a confirmation
10289 order needs a cash quantity
10290 order takes a cash quantity only
10291 orders that harvest losses are for the day
10292 order type or action is restricted
10293 crypto order in cash takes no size
10294 cash quantity differs from the sum of the group
10295 schedules need bars of a day; or order that harvests losses is not for the day
10296 two settings on dark pools exclude each other
10297 order cannot be not-held
10298 contract has another currency than the model
10299 another kind of data (what to show) is right here
10300 a date, time or zone is not valid
10301 a date, time or zone is not valid
10302 order takes no minimum trade quantity
10303 minimum trade quantity is not valid
10304 minimum competing size cannot be negative
10305 offset against the best price is not valid
10306 mid offsets are not allowed
10307 mid offsets are not valid
10308 post-to-ATS cannot be changed
10309 WSH event request is not valid
10310 note on orders that an advisor proposed
10311 order goes to one exchange directly, which can cost more
10312 no volatility orders for this contract and account
10314 end date, time or zone is not valid
10315 time is not valid
10316 order attribute for triggers outside of regular hours is no longer known
10317 cash quantity is no multiple of its step
10318 order takes no fractional quantity
10319 no municipal bonds by API now
10321 no municipal bonds in attached orders now
10322 not there for all accounts at once
10324 OCA group is not valid for this exchange
10325 no OCA groups here
10326 OCA group cannot be changed
10327 OCA type cannot be changed
10328 connection was lost, and the order's data are not known
10329 order goes to one exchange directly
10330 expiry is not valid
10331 warning about stop orders
10332 warning about crypto volatility
10333 warning about an option exercised at the money
10334 omnibus order wants its account confirmed
10335 order presets contradict each other
10336 no executing broker for each leg
10337 an option of the request is not known
10338 the value of an option of the request is not valid
10339 a continuous future or adjusted prices take no end date
10340 order attribute is not supported
10341 parent order id cannot be changed
10342 order cannot be for imbalances only
10343 event contracts cannot be sold
10344 price must be from 0.02 to 0.99
10345 this cannot be traded
10346 market data of this contract are on display elsewhere
10347 contract trades little, and may be hard to sell
10349 order got its time in force from a preset
"""
