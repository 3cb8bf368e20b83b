'use strict';
// What artillery's script cannot say: the absolute schedule, the check of every answer, and the beat.
const fs = require('fs');

const interval = Number(process.env.BENCH_INTERVAL_S) * 1000;
const life = (Number(process.env.BENCH_RAMP_S) + Number(process.env.BENCH_HOLD_S)) * 1000;
const BEAT_MS = 5;
let began = null;

// CLOCK_MONOTONIC, as in the other processes.
const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

if (process.env.BENCH_BEAT) {
  let last = monotonic();
  let told = last;
  let worst = 0;
  let came = last;
  setInterval(() => {
    const now = monotonic();
    const late = now - last - BEAT_MS / 1000;
    if (late > worst) {
      worst = late;
      came = now;
    }
    last = now;
    if (now - told >= 0.1) {
      fs.appendFileSync(process.env.BENCH_BEAT, `${JSON.stringify([came, worst])}\n`);
      told = now;
      worst = 0;
      came = now;
    }
  }, BEAT_MS).unref();
}

function read(response, context) {
  const body = JSON.parse(response.body);
  if (body.statusCode !== 0) {
    fs.appendFileSync(process.env.BENCH_ERRORS, `statusCode ${body.statusCode}\n`);
    return 'statusCode';
  }
  const vars = context.vars;
  vars.userId = body.userId;
  vars.secureKey = body.secureKey;
  vars.alias = body.alias;
  vars.position = body.nextPosition;
  vars.chat = body.chatId || vars.chat;
  return null;
}

function answered(request, response, context, events, next) {
  const wrong = read(response, context);
  return next(wrong ? new Error(wrong) : undefined);
}

function opened(request, response, context, events, next) {
  began = began || Date.now();
  context.vars.due = Date.now();
  return answered(request, response, context, events, next);
}

function held(context, next) {
  return next(context.vars.due < began + life);
}

function pause(context, events, done) {
  const vars = context.vars;
  vars.due = interval ? vars.due + interval : Date.now();
  const left = Math.min(vars.due, began + life) - Date.now();
  if (left > 0) setTimeout(done, left);
  else done();
}

module.exports = { answered, opened, held, pause };
