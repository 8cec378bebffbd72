// Drives @stoqey/ib (TypeScript client on Node); same task in, same answer out as driver_common.py describes.
//
// The library runs in a worker thread: on bytes that are not the IB protocol its frame reader can loop for ever at
// 100 % CPU (a negative length), and only another thread can then still tell what the client got before.
"use strict";

const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");

const CONTRACT = { conId: 756733, symbol: "SPY", secType: "STK", exchange: "SMART", currency: "USD" };
const TICKER = 9001, BARS = 9002;
const SPINNING = 1e6; // microseconds; loading the library takes 150,000

if (isMainThread) main(JSON.parse(process.argv[2]));
else new Session(workerData).run();

function main(task) {
  const started = process.hrtime.bigint();
  let got = nothing(), atLastTurn = process.cpuUsage();
  const finish = () => {
    got.seconds = Number(process.hrtime.bigint() - started) / 1e9;
    process.stdout.write("\n" + JSON.stringify(got) + "\n", () => process.exit(0));
  };
  const worker = new Worker(__filename, { workerData: task });
  worker.on("message", (message) => {
    if (message.turns) atLastTurn = process.cpuUsage();
    if (message.got) got = message.got;
    if (message.done) finish();
  });
  worker.on("error", (problem) => {
    fail(got, "hello", "worker died");
    got.notes.push(String(problem));
    finish();
  });
  // The worker says every 100 ms that its event loop turns. Mute for a whole second of CPU time, it spins.
  setInterval(() => {
    if (process.cpuUsage(atLastTurn).user < SPINNING) return;
    fail(got, Number.isInteger(got.server_version) ? "ready" : "hello", "spins at 100 % CPU");
    finish();
  }, 100);
  setTimeout(() => {
    fail(got, "hello", "gave up");
    finish();
  }, 1000 * task.deadline);
}

function nothing() {
  return {
    server_version: null, next_valid_id: null, accounts: [], synchronized: null, current_time: false, bars: [],
    bars_complete: false, ticks: false, answers_at_end: null, errors: [], failed_at: null, failed_how: null,
    told_disconnected: false, tick_count: 0, notes: [], seconds: 0,
  };
}

function fail(got, stage, how) {
  if (got.failed_at === null) [got.failed_at, got.failed_how] = [stage, how];
}

function Session(task) {
  const { IBApi, EventName } = require("@stoqey/ib");
  const got = nothing();
  const client = new IBApi({ host: task.host, port: task.port, clientId: task.client_id, maxReqPerSec: 10000 });
  let connected = false, ended = false, leaving = false, times = 0, shown = 0;
  let wake = () => {};

  // A library that loops may come here a million times a second: show no more than the main thread can look at.
  function note(change) {
    change();
    if (Date.now() - shown >= 20) {
      shown = Date.now();
      parentPort.postMessage({ got });
    }
    wake();
  }

  function remark(text) {
    if (got.notes.length < 50) got.notes.push(text.slice(0, 200));
  }

  function listen() {
    const on = (event, change) => client.on(event, (...values) => note(() => change(...values)));
    const addCode = (code) => {
      if (!got.errors.includes(code)) got.errors = [...got.errors, code].sort((a, b) => a - b);
    };
    on(EventName.server, (version) => { got.server_version = version; connected = true; });
    on(EventName.disconnected, () => { ended = true; if (!leaving) got.told_disconnected = true; });
    on(EventName.nextValidId, (id) => { got.next_valid_id ??= id; });
    on(EventName.managedAccounts, (names) => { got.accounts = names.split(",").filter(Boolean); });
    on(EventName.currentTime, () => { times += 1; got.current_time = true; });
    on(EventName.historicalData, (request, date, open, high, low, close, volume) => {
      if (String(date).startsWith("finished")) got.bars_complete = true;
      else got.bars.push([date, open, high, low, close, volume]);
    });
    for (const tick of [EventName.tickPrice, EventName.tickSize, EventName.tickString, EventName.tickGeneric]) {
      on(tick, () => { got.tick_count += 1; });
    }
    on(EventName.info, (text, code) => { remark(`info ${code} ${text}`); addCode(code); });
    on(EventName.error, (problem, code) => {
      remark(`error ${code} ${problem.message}`);
      addCode(code);
    });
  }

  function until(condition, seconds) {
    return new Promise((resolve) => {
      const settle = () => {
        if (condition()) { clearTimeout(timer); wake = () => {}; resolve(true); }
      };
      const timer = setTimeout(() => { wake = () => {}; resolve(condition()); }, 1000 * seconds);
      wake = settle;
      settle();
    });
  }

  async function wait(stage, condition) {
    await until(() => condition() || ended, task.timeout);
    if (!condition()) fail(got, stage, ended ? "disconnected" : "no answer");
  }

  const steps = [
    async () => { client.connect(); await wait("hello", () => connected); },
    () => wait("ready", () => got.next_valid_id !== null && got.accounts.length > 0),
    async () => {
      if (!task.burst) return;
      for (let i = 0; i < task.burst && !ended; i++) {
        client.reqMarketDataType(1);
        await until(() => ended, 0.002);
      }
      await until(() => ended, task.watch);
      if (ended) fail(got, "burst", "disconnected");
    },
    () => { client.reqCurrentTime(); return wait("time", () => got.current_time); },
    () => {
      client.reqHistoricalData(BARS, CONTRACT, "", "5 D", "1 day", "TRADES", 1, 1, false);
      return wait("bars", () => got.bars_complete);
    },
    async () => {
      client.reqMktData(TICKER, CONTRACT, "", false, false);
      await wait("ticks", () => got.tick_count >= task.ticks);
      got.ticks = got.tick_count >= task.ticks;
    },
    async () => {
      if (!task.watch || task.burst || (await until(() => ended, task.watch))) return;
      const before = times;
      client.reqCurrentTime();
      got.answers_at_end = await until(() => times > before, task.timeout);
    },
  ];

  // Hang up like a well-written program: no stream running, so that the close is a FIN and not a reset.
  async function leave() {
    leaving = true;
    if (ended) return;
    if (got.tick_count) {
      client.cancelMktData(TICKER);
      for (let seen = null; seen !== got.tick_count;) {
        seen = got.tick_count;
        await until(() => false, 0.1);
      }
    }
    client.disconnect();
    await until(() => false, 0.05);
  }

  this.run = async () => {
    setInterval(() => parentPort.postMessage({ turns: true }), 100);
    listen();
    for (const step of steps) {
      await step();
      if (got.failed_at !== null) break;
    }
    await leave();
    parentPort.postMessage({ got, done: true });
  };
}
