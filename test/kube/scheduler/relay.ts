import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One address for a scheduler, behind which a test puts one extender or another. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The port that new connections lead to. */
  to = 0;
  /** While it is not, connections are refused as by a Service without anybody behind it. */
  isOpen = true;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#join(socket));
  }

  static async start(): Promise<Relay> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Relay(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends the connections that there are. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, 'close');
  }

  #join(socket: Socket): void {
    if (!this.isOpen) {
      socket.destroy();
      return;
    }
    const on = connect(this.to, '127.0.0.1');
    for (const end of [socket, on]) {
      this.#sockets.add(end);
      end.once('error', () => end.destroy());
      end.once('close', () => {
        this.#sockets.delete(end);
        socket.destroy();
        on.destroy();
      });
    }
    socket.pipe(on);
    on.pipe(socket);
  }
}
