import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { isErrorCode } from '../../../common/errors/index.ts';
import { podObject, TestCluster } from '../../support/extender/objects.ts';
import { get, post, Served, type ServedOptions } from '../../support/extender/served.ts';

const SIX = ['a', 'a', 'a', 'a', 'a', 'a'];

function cluster(): TestCluster {
  const built = new TestCluster().storageClass('fast').storage(SIX).model('llama', 100e9, { n1: 100e9 });
  built.node('n1', { rack: 'r1' }, 4).node('n2', { rack: 'r2' }, 4).node('far', { zone: 'b' }, 4);
  return built.claim('c', { size: '10Gi' });
}

const pod = podObject('p', { claims: ['c'], annotations: { 'nabustore.io/models': 'llama' } });
const names = (list: readonly string[], given: unknown = pod) =>
  JSON.stringify({ Pod: given, Nodes: null, NodeNames: list });
const full = (list: readonly string[]) =>
  JSON.stringify({
    Pod: pod,
    Nodes: { metadata: {}, items: list.map((name) => ({ metadata: { name }, spec: { x: 1 } })) },
    NodeNames: null,
  });

describe('the extender over HTTP', () => {
  const closing: (() => Promise<void>)[] = [];
  const start = async (built: TestCluster = cluster(), options: ServedOptions = {}): Promise<Served> => {
    const served = await Served.start(built.index, options);
    closing.push(() => served.close());
    return served;
  };
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  it('filters names, with a reason for each node that is refused', async () => {
    const { port } = await start();
    const { status, text } = await post(port, '/filter', names(['n1', 'far', 'n2', 'stranger', 'n1']));
    assert.equal(status, 200);
    const answer = JSON.parse(text);
    assert.deepEqual(Object.keys(answer), ['NodeNames', 'FailedNodes', 'FailedAndUnresolvableNodes', 'Error']);
    assert.deepEqual(answer.NodeNames, ['n1', 'n2']);
    assert.deepEqual(answer.FailedNodes, {});
    assert.deepEqual(Object.keys(answer.FailedAndUnresolvableNodes), ['far', 'stranger']);
    assert.match(answer.FailedAndUnresolvableNodes.far, /no storage node is in zone b/);
  });

  it('filters whole nodes and gives back those that pass as they came', async () => {
    const { port } = await start();
    const answer = JSON.parse((await post(port, '/filter', full(['far', 'n2', 'n1']))).text);
    assert.deepEqual(answer.Nodes.items, [
      { metadata: { name: 'n2' }, spec: { x: 1 } },
      { metadata: { name: 'n1' }, spec: { x: 1 } },
    ]);
    assert.equal(answer.NodeNames, undefined);
  });

  it('prioritizes names and whole nodes alike: the node that has the model scores best', async () => {
    const { port } = await start();
    for (const body of [names(['n2', 'n1', 'stranger']), full(['n2', 'n1', 'stranger'])]) {
      const answer: { Host: string; Score: number }[] = JSON.parse((await post(port, '/prioritize', body)).text);
      const score = new Map(answer.map(({ Host, Score }) => [Host, Score]));
      assert.equal(score.size, answer.length, 'no node twice');
      // A scheduler gives 0 to those that are not named.
      const [n1 = 0, n2 = 0] = [score.get('n1'), score.get('n2')];
      assert(n1 === 10 && n2 < 10 && !score.has('stranger'), JSON.stringify(answer));
    }
  });

  it('reserves what it lets pass, so that a burst does not see the same bytes twice', async () => {
    const built = cluster().capacity('x', 'fast', '100Gi', 'a');
    for (let at = 0; at < 50; at++) built.claim(`b${at}`, { size: '3Gi' });
    const { port } = await start(built);
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        post(port, '/filter', names(['n1', 'n2'], podObject(`b${at}`, { claims: [`b${at}`] })), { agent }),
      ),
    );
    agent.destroy();
    const passed = answers.filter(({ text }) => JSON.parse(text).NodeNames.length > 0);
    assert.equal(passed.length, 33);
    const refused = answers.map(({ text }) => JSON.parse(text)).find(({ NodeNames }) => NodeNames.length === 0);
    assert.match(
      refused.FailedAndUnresolvableNodes.n1,
      /asks for 3 GiB, class fast has 1 GiB in zone a beside what is reserved/,
    );
  });

  it('preempts only where the victims are enough, and never answers a node without one', async () => {
    const built = cluster();
    for (const at of [1, 2, 3, 4]) built.bound(`u${at}`).pod(`u${at}`, { node: 'n1', claims: [`u${at}`] });
    const { port } = await start(built);
    const map = {
      n1: { Pods: [{ UID: 'uid-u1' }], NumPDBViolations: 2 },
      far: { Pods: [{ UID: 'x' }] },
      n2: { Pods: [] },
    };
    const { text } = await post(
      port,
      '/preempt',
      JSON.stringify({ Pod: pod, NodeNameToMetaVictims: map, NodeNameToVictims: null }),
    );
    assert.deepEqual(JSON.parse(text), {
      NodeNameToMetaVictims: { n1: { Pods: [{ UID: 'uid-u1' }], NumPDBViolations: 2 } },
    });
  });

  it('explains every node: the best first, with what its time is made of, then the refused', async () => {
    const { port, reservations } = await start();
    const { text } = await post(port, '/prioritize?explain', names(['far', 'n2', 'n1']));
    const { nodes, reads, newVolumes } = JSON.parse(text);
    assert.deepEqual(
      nodes.map(({ node }: { node: string }) => node),
      ['n1', 'n2', 'far'],
    );
    assert.equal(nodes[0].time.load.host.bytes >= 100e9, true);
    assert.match(nodes[2].refused.reason, /no storage node is in zone b/);
    assert.deepEqual(
      reads.map(({ what }: { what: string }) => what),
      ['new volume ns/c', 'model "llama"'],
    );
    assert.equal(newVolumes[0].class, 'fast');
    assert.equal(reservations.counts.promised, 0, 'a question reserves nothing');
  });

  it('says what has not been heard of yet as an error that is tried again, not as a refusal', async () => {
    const { port } = await start();
    const later = podObject('late', { claims: ['unheard'] });
    const { status, text } = await post(port, '/filter', names(['n1'], later));
    assert.equal(status, 200);
    assert.match(JSON.parse(text).Error, /claim ns\/unheard.*has not heard of it yet/);
    assert.equal(JSON.parse(text).NodeNames, undefined);
    assert.equal((await post(port, '/prioritize', names(['n1'], later))).status, 503);
  });

  it('answers nothing while it is not ready, and says why', async () => {
    let reason: string | undefined = 'it has not heard of pods yet';
    const { port } = await start(cluster(), { unready: () => reason });
    assert.deepEqual(await get(port, '/readyz'), { status: 503, text: 'it has not heard of pods yet\n' });
    assert.match(JSON.parse((await post(port, '/filter', names(['n1']))).text).Error, /has not heard of pods yet/);
    assert.equal((await post(port, '/preempt', JSON.stringify({ Pod: pod, NodeNameToMetaVictims: {} }))).status, 503);
    assert.equal((await get(port, '/healthz')).status, 200);
    reason = undefined;
    assert.equal((await get(port, '/readyz')).status, 200);
    assert.deepEqual(JSON.parse((await post(port, '/filter', names(['n1']))).text).NodeNames, ['n1']);
  });

  it('refuses null lists, other media types, missing bodies and other paths with a typed error', async () => {
    const { port } = await start();
    const typed = async (given: Promise<{ status: number; text: string }>, status: number, code: string) => {
      const answer = await given;
      assert.equal(answer.status, status, answer.text);
      assert.equal(JSON.parse(answer.text).code, code);
      assert(isErrorCode(code));
    };
    await typed(
      post(port, '/filter', JSON.stringify({ Pod: pod, Nodes: null, NodeNames: null })),
      400,
      'INVALID_ARGUMENT',
    );
    await typed(post(port, '/filter', JSON.stringify({ Pod: null, NodeNames: ['n1'] })), 400, 'INVALID_ARGUMENT');
    await typed(post(port, '/filter', '{', { contentType: 'text/plain' }), 400, 'INVALID_ARGUMENT');
    await typed(post(port, '/filter', ''), 400, 'INVALID_ARGUMENT');
    await typed(post(port, '/bind', '{}'), 501, 'UNIMPLEMENTED');
    await typed(get(port, '/filter'), 501, 'UNIMPLEMENTED');
  });

  it('takes chunked bodies, and a pod with 64 claims', async () => {
    const built = cluster();
    const claims = Array.from({ length: 64 }, (_, at) => `m${at}`);
    for (const name of claims) built.claim(name);
    const { port } = await start(built);
    const { text } = await post(port, '/filter', names(['n1', 'n2'], podObject('many', { claims })), { chunked: true });
    assert.match(
      JSON.parse(text).FailedAndUnresolvableNodes.n1,
      /64 more volumes of NabuStore cannot be attached: 0 of at most 4 are/,
    );
  });

  it('takes a body of 64 MiB, refuses a larger one, and keeps none of its memory', async () => {
    const { port } = await start();
    const item = (at: number) => ({ metadata: { name: at === 0 ? 'n1' : `x${at}` }, filler: 'f'.repeat(13_000) });
    const text = JSON.stringify({ Pod: pod, Nodes: { items: Array.from({ length: 5000 }, (_, at) => item(at)) } });
    const body = Buffer.concat([Buffer.from(text), Buffer.alloc((64 << 20) - Buffer.byteLength(text), ' ')]);
    const answer = JSON.parse((await post(port, '/filter', body)).text);
    assert.equal(answer.Nodes.items.length, 1);
    assert.equal(Object.keys(answer.FailedAndUnresolvableNodes).length, 4999);
    for (const chunked of [false, true]) {
      const refused = await post(port, '/filter', Buffer.concat([body, Buffer.from(' ')]), { chunked }).catch(
        () => undefined,
      );
      // A client that still sends may see the connection end before it sees the answer.
      if (refused !== undefined) assert.equal(JSON.parse(refused.text).code, 'MESSAGE_TOO_LARGE');
    }
    assert.equal((await post(port, '/filter', names(['n1']))).status, 200);
  });

  it('bounds the memory of all bodies together', async () => {
    const { port } = await start(cluster(), { limits: { totalBytes: 3 << 20 } });
    const half = await new Promise<ReturnType<typeof connect>>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(
          `POST /filter HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${2 << 20}\r\n\r\n{`,
          () => resolve(socket),
        );
      });
    });
    const large = `{"Pod":null,"x":"${'x'.repeat(2 << 20)}"}`;
    let answer = await post(port, '/filter', large);
    // The half request may arrive behind this one: until it has, both fit.
    while (JSON.parse(answer.text).code !== 'QUEUE_FULL') answer = await post(port, '/filter', large);
    assert.equal(answer.status, 429);
    assert.equal((await post(port, '/filter', names(['n1']))).status, 200);
    half.destroy();
    answer = await post(port, '/filter', large).catch(() => answer);
    while (JSON.parse(answer.text).code === 'QUEUE_FULL')
      answer = await post(port, '/filter', large).catch(() => answer);
    assert.equal(JSON.parse(answer.text).code, 'INVALID_ARGUMENT');
  });

  it('gives up a body that does not come', async () => {
    const { port } = await start(cluster(), { limits: { timeoutMs: 50 } });
    const text = await new Promise<string>((resolve) => {
      let told = '';
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(
          'POST /filter HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
        );
      });
      socket.on('data', (part) => {
        told += part.toString();
      });
      socket.once('close', () => resolve(told));
    });
    assert.match(text, /^HTTP\/1.1 504 /);
    assert.match(text, /"code":"TIMEOUT"/);
  });

  it('does not answer a request that has waited longer than its scheduler does', async () => {
    const { port } = await start(cluster(), { limits: { answerWithinMs: 0 } });
    const { status, text } = await post(port, '/filter', names(['n1']));
    assert.equal(status, 504);
    assert.equal(JSON.parse(text).code, 'TIMEOUT');
  });

  it('tells Prometheus what it did', async () => {
    const { port } = await start();
    await post(port, '/filter', names(['n1', 'far']));
    await post(port, '/filter', '{}');
    const { text } = await get(port, '/metrics');
    assert.match(text, /nabu_extender_request_seconds_count\{verb="filter",result="ok"\} 1/);
    assert.match(text, /nabu_extender_request_seconds_count\{verb="filter",result="INVALID_ARGUMENT"\} 1/);
    assert.match(text, /nabu_extender_candidates_total\{verdict="refused"\} 1/);
    assert.match(text, /nabu_extender_known\{kind="nodes"\} 3/);
    assert.match(text, /nabu_extender_reservations\{stage="promised"\} 1/);
    assert.match(text, /nabu_extender_ready 1/);
  });
});
