// The same chats in k6: each virtual user holds one, on an absolute schedule.
import http from 'k6/http';
import { sleep, fail } from 'k6';

const HOST = __ENV.BENCH_HOST + '/genesys/2/chat/default';
const N = Number(__ENV.BENCH_CHATS);
const RAMP = Number(__ENV.BENCH_RAMP);
const INTERVAL = Number(__ENV.BENCH_INTERVAL);
const END = Number(__ENV.BENCH_SECONDS);

export const options = {
  scenarios: { chats: { executor: 'per-vu-iterations', vus: N, iterations: 1, maxDuration: '2h', gracefulStop: '1s' } },
};

export default function () {
  sleep((RAMP * (__VU - 1)) / N + 0.0001);
  const opened = http.post(HOST, { nickname: 'chatload', subject: 'load test' }, { tags: { name: 'RequestChat' } }).json();
  const keys = { userId: opened.userId, secureKey: opened.secureKey, alias: opened.alias };
  const chat = HOST + '/' + opened.chatId;
  let position = opened.nextPosition;
  let due = Date.now();
  const end = due + 1000 * END;
  while (due < end) {
    if (INTERVAL > 0) {
      due += 1000 * INTERVAL;
      sleep(Math.max(0, due - Date.now()) / 1000);
    } else {
      due = Date.now();
    }
    const reply = http.post(chat + '/refresh', Object.assign({ transcriptPosition: position }, keys), { tags: { name: 'GetMessages' } }).json();
    if (reply.statusCode !== 0) fail('statusCode ' + reply.statusCode);
    position = reply.nextPosition;
  }
  http.post(chat + '/disconnect', keys, { tags: { name: 'Disconnect' } });
}
