// The same chat in k6: a virtual user a chat, refreshed on an absolute schedule.
import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';

const chats = Number(__ENV.BENCH_CHATS);
const ramp = Number(__ENV.BENCH_RAMP_S);
const hold = Number(__ENV.BENCH_HOLD_S);
const interval = Number(__ENV.BENCH_INTERVAL_S);
const base = `${__ENV.BENCH_HOST}/genesys/2/chat/default`;

export const options = {
  scenarios: {
    chats: {
      executor: 'per-vu-iterations',
      vus: chats,
      iterations: 1,
      maxDuration: `${Math.ceil(ramp + hold + 60)}s`,
    },
  },
  thresholds: { checks: ['rate==1'] },
};

function ask(path, name, form) {
  // One name for all: k6 keeps statistics for each URL otherwise.
  const answer = http.post(base + path, form, { tags: { name } });
  const body = answer.json();
  check(body, { 'statusCode is 0': (b) => b.statusCode === 0 });
  return body;
}

function keys(body) {
  return {
    userId: body.userId,
    secureKey: body.secureKey,
    alias: body.alias,
    transcriptPosition: String(body.nextPosition),
  };
}

function sleepUntil(instant) {
  const left = (instant - Date.now()) / 1000;
  if (left > 0) sleep(left);
}

export default function () {
  const began = exec.scenario.startTime;
  const end = began + (ramp + hold) * 1000;
  sleepUntil(began + ((exec.vu.idInTest - 1) / chats) * ramp * 1000);
  let body = ask('', 'RequestChat', { nickname: 'chatload', subject: 'load test' });
  const chat = body.chatId;
  let due = Date.now();
  while (due < end) {
    body = ask(`/${chat}/refresh`, 'GetMessages', keys(body));
    due = interval ? due + interval * 1000 : Date.now();
    sleepUntil(Math.min(due, end));
  }
  ask(`/${chat}/disconnect`, 'Disconnect', keys(body));
}
