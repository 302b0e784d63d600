import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { decodeMessage, encodeMessage, type MessageInit } from '../../common/grpc/index.ts';
import type { nri, ttrpc } from '../../proto/gen/messages.js';
import { services, type Unary } from '../../proto/gen/nri.js';

type Api = typeof services;
const PLUGIN: Api['nri.pkg.api.v1alpha1.Plugin'] = services['nri.pkg.api.v1alpha1.Plugin'];
const RUNTIME: Api['nri.pkg.api.v1alpha1.Runtime'] = services['nri.pkg.api.v1alpha1.Runtime'];
const FRAMES = services['ttrpc.Frames'].call;

export type RuntimeManners = {
  /** Refuses registrations with this gRPC status. */
  readonly refuses?: number;
  /** Takes connections and answers nothing. */
  readonly isSilent?: boolean;
  /** How it cuts what it sends. */
  readonly cut?: (bytes: Buffer) => readonly Buffer[];
};

/** An answer, or that the plugin is gone: then NRI goes on without it. A status is what fails a container. */
export type Answer<T> = { readonly status: number; readonly response: T } | 'closed' | 'late';

/** One plugin's connection, as the runtime has it. Its framing is written apart from that of the plugin. */
export class PluginConnection {
  readonly registered: { name: string; index: string }[] = [];
  /** Payloads of the multiplexer's frames that the plugin sent, in bytes. */
  readonly frameBytes: number[] = [];
  events: number | undefined;
  readonly #socket: Socket;
  readonly #manners: RuntimeManners;
  readonly #waiting = new Map<number, (answer: ttrpc.Response | 'closed') => void>();
  readonly #streams = new Map<number, Buffer>();
  #trunk = Buffer.alloc(0);
  #nextStream = 1;
  readonly ready: Promise<void>;
  #onReady: () => void = () => undefined;

  constructor(socket: Socket, manners: RuntimeManners) {
    this.#socket = socket;
    this.#manners = manners;
    this.ready = new Promise((resolve) => {
      this.#onReady = resolve;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const settle of this.#waiting.values()) settle('closed');
      this.#waiting.clear();
    });
    socket.on('data', (chunk: Buffer) => this.#onTrunk(chunk));
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Bytes as they are. */
  sendRaw(bytes: Buffer): void {
    for (const piece of this.#manners.cut?.(bytes) ?? [bytes]) this.#socket.write(piece);
  }

  /** A request with this payload, whatever it is. */
  async request(path: string, payload: Buffer, timeoutMs = 2000): Promise<Answer<Uint8Array>> {
    const [, service = '', method = ''] = path.split('/');
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const timeoutNano = BigInt(timeoutMs) * 1_000_000n;
    const answered = new Promise<ttrpc.Response | 'closed'>((resolve) => this.#waiting.set(stream, resolve));
    this.sendMessage(1, stream, 1, encodeMessage(FRAMES.request, { service, method, payload, timeoutNano }));
    const timer = Promise.withResolvers<'late'>();
    const handle = setTimeout(() => timer.resolve('late'), timeoutMs);
    const answer = await Promise.race([answered, timer.promise]);
    clearTimeout(handle);
    if (typeof answer === 'string') return answer;
    return { status: answer.status?.code ?? 0, response: answer.payload };
  }

  async call<Req, Res>(call: Unary<Req, Res>, message: MessageInit<Req>, timeoutMs?: number): Promise<Answer<Res>> {
    const answer = await this.request(call.path, encodeMessage(call.request, Object(message)), timeoutMs);
    if (typeof answer === 'string') return answer;
    return { status: answer.status, response: decodeMessage(call.response, answer.response) as Res };
  }

  createContainer(
    request: MessageInit<nri.pkg.api.v1alpha1.CreateContainerRequest>,
    timeoutMs?: number,
  ): Promise<Answer<nri.pkg.api.v1alpha1.CreateContainerResponse>> {
    return this.call(PLUGIN.createContainer, request, timeoutMs);
  }

  /** One message of ttrpc in one frame of the multiplexer. */
  sendMessage(connection: number, stream: number, type: number, payload: Buffer, flags = 0): void {
    const message = Buffer.alloc(10 + payload.length);
    message.writeUInt32BE(payload.length, 0);
    message.writeUInt32BE(stream, 4);
    message[8] = type;
    message[9] = flags;
    payload.copy(message, 10);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(connection, 0);
    head.writeUInt32BE(message.length, 4);
    this.sendRaw(Buffer.concat([head, message]));
  }

  #onTrunk(chunk: Buffer): void {
    this.#trunk = Buffer.concat([this.#trunk, chunk]);
    while (this.#trunk.length >= 8 && this.#trunk.length >= 8 + this.#trunk.readUInt32BE(4)) {
      const end = 8 + this.#trunk.readUInt32BE(4);
      const connection = this.#trunk.readUInt32BE(0);
      this.frameBytes.push(end - 8);
      this.#onStream(connection, this.#trunk.subarray(8, end));
      this.#trunk = this.#trunk.subarray(end);
    }
  }

  #onStream(connection: number, bytes: Buffer): void {
    let rest = Buffer.concat([this.#streams.get(connection) ?? Buffer.alloc(0), bytes]);
    while (rest.length >= 10 && rest.length >= 10 + rest.readUInt32BE(0)) {
      const end = 10 + rest.readUInt32BE(0);
      this.#onMessage(connection, rest.readUInt32BE(4), rest.subarray(10, end));
      rest = rest.subarray(end);
    }
    this.#streams.set(connection, rest);
  }

  #onMessage(connection: number, stream: number, payload: Buffer): void {
    if (this.#manners.isSilent === true) return;
    if (connection === 1) {
      const settle = this.#waiting.get(stream);
      this.#waiting.delete(stream);
      settle?.(decodeMessage(FRAMES.response, payload) as ttrpc.Response);
      return;
    }
    const request = decodeMessage(FRAMES.request, payload) as ttrpc.Request;
    const code = this.#manners.refuses ?? 0;
    if (`/${request.service}/${request.method}` !== RUNTIME.registerPlugin.path) return;
    const asked = decodeMessage(
      RUNTIME.registerPlugin.request,
      request.payload,
    ) as nri.pkg.api.v1alpha1.RegisterPluginRequest;
    this.registered.push({ name: asked.pluginName, index: asked.pluginIdx });
    const status = { code, message: code === 0 ? '' : 'refused by the test' };
    this.sendMessage(2, stream, 2, encodeMessage(FRAMES.response, { status }));
    if (code === 0) void this.#configure();
  }

  async #configure(): Promise<void> {
    const runtime = { runtimeName: 'double', runtimeVersion: '1', registrationTimeout: 5000, requestTimeout: 2000 };
    const configured = await this.call(PLUGIN.configure, runtime);
    if (typeof configured === 'string') return;
    this.events = configured.response.events;
    const synchronized = await this.call(PLUGIN.synchronize, { more: false });
    if (typeof synchronized !== 'string') this.#onReady();
  }
}

/** What of NRI a container runtime does, on a real socket. */
export class NriRuntimeDouble {
  readonly socketPath: string;
  /** In the order of their coming, those that are gone too. */
  readonly connections: PluginConnection[] = [];
  manners: RuntimeManners = {};
  #server: Server | undefined;
  readonly #waiters = new Set<() => void>();

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  async start(manners: RuntimeManners = {}): Promise<void> {
    this.manners = manners;
    this.#server = createServer((socket) => {
      this.connections.push(new PluginConnection(socket, this.manners));
      for (const wake of this.#waiters) wake();
    });
    this.#server.listen(this.socketPath);
    await once(this.#server, 'listening');
  }

  /** The socket is gone from the folder, as when the runtime has ended. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const connection of this.connections) connection.close();
    if (server === undefined) return;
    server.close();
    await once(server, 'close');
  }

  /** The `count`th connection that this double was given. */
  async connection(count: number): Promise<PluginConnection> {
    for (;;) {
      const found = this.connections[count - 1];
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          resolve();
        };
        this.#waiters.add(wake);
      });
    }
  }

  /** A plugin that has been registered, configured and synchronized. */
  async plugin(count = this.connections.filter(({ isOpen }) => !isOpen).length + 1): Promise<PluginConnection> {
    const connection = await this.connection(count);
    await connection.ready;
    return connection;
  }
}
