// The closed list of everything that can go wrong by name. docs/reference/errors.md is generated from it
// (`node scripts/error-reference.ts`), and a test holds the two together.

/** gRPC status codes (grpc/grpc, doc/statuscodes.md); spelled out so that common/errors needs no gRPC library. */
export const GRPC_CODE = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type GrpcCodeName = keyof typeof GRPC_CODE;

export type ErrorEntry = {
  /** Sentence with {field} placeholders. Names what is wrong and, where there is one, what to do. */
  readonly template: string;
  readonly grpc: GrpcCodeName;
  readonly http: number;
  /** Whether the same request may succeed later with nothing else changed by the caller. */
  readonly retryable: boolean;
};

const entry = (template: string, grpc: GrpcCodeName, http: number, retryable: boolean): ErrorEntry => ({
  template,
  grpc,
  http,
  retryable,
});

export const ERRORS = {
  // Requests
  INVALID_ARGUMENT: entry('{field}: {reason}', 'INVALID_ARGUMENT', 400, false),
  OUT_OF_RANGE: entry('{field}: {reason}', 'OUT_OF_RANGE', 400, false),
  MESSAGE_TOO_LARGE: entry(
    'the message has {sizeBytes} bytes, at most {limitBytes} are taken',
    'RESOURCE_EXHAUSTED',
    413,
    false,
  ),
  UNIMPLEMENTED: entry('{operation} is not supported: {reason}', 'UNIMPLEMENTED', 501, false),
  PERMISSION_DENIED: entry('{operation} is not permitted: {reason}', 'PERMISSION_DENIED', 403, false),
  FAILED_PRECONDITION: entry('{operation} cannot be done now: {reason}', 'FAILED_PRECONDITION', 409, false),
  ALREADY_EXISTS: entry('{kind} {id} exists already: {reason}', 'ALREADY_EXISTS', 409, false),
  ABORTED: entry('{operation} was given up: {reason}', 'ABORTED', 409, true),
  CANCELLED: entry('{operation} was cancelled by its caller', 'CANCELLED', 499, false),
  TIMEOUT: entry('{operation} did not finish within {timeoutMs} ms', 'DEADLINE_EXCEEDED', 504, true),
  QUEUE_FULL: entry('{queue} holds {limit} waiting requests already', 'RESOURCE_EXHAUSTED', 429, true),
  UNAVAILABLE: entry('{target} cannot be reached: {reason}', 'UNAVAILABLE', 503, true),
  RESOURCE_CONFLICT: entry('{kind} {id} was changed meanwhile: {reason}', 'ABORTED', 409, true),
  INTERNAL: entry('internal error, the log has the detail under {correlationId}', 'INTERNAL', 500, false),
  CONFIG_INVALID: entry('configuration {source}: {reason}', 'INVALID_ARGUMENT', 400, false),

  // Blobs and their shards
  BLOB_NOT_FOUND: entry('there is no blob {key}', 'NOT_FOUND', 404, false),
  BLOB_UNKNOWN: entry('whether blob {key} exists cannot be told: {reason}', 'UNAVAILABLE', 503, true),
  BLOB_UNREADABLE: entry(
    'blob {key} cannot be read: {found} of {needed} shards found, {reason}',
    'UNAVAILABLE',
    503,
    true,
  ),
  BLOB_LOST: entry('blob {key} is lost: {found} of {needed} shards are left anywhere', 'DATA_LOSS', 410, false),
  SHARD_CORRUPT: entry('shard {shard} of blob {key} fails its checksum at byte {offset}', 'DATA_LOSS', 500, false),

  // Policies and placement
  POLICY_UNKNOWN: entry('policy {policy} is not one of {allowed}', 'INVALID_ARGUMENT', 400, false),
  POLICY_TOO_WIDE: entry(
    'policy {policy} needs {needed} failure domains, the cluster has {available}',
    'INVALID_ARGUMENT',
    400,
    false,
  ),
  NOT_ENOUGH_NODES: entry('{operation} needs {needed} nodes, {available} can be reached', 'UNAVAILABLE', 503, true),
  NODE_NOT_FOUND: entry('there is no node {nodeId}', 'NOT_FOUND', 404, false),
  MAP_STALE: entry('cluster map {epoch} is older than {currentEpoch}', 'FAILED_PRECONDITION', 409, true),

  // Devices and the shard store
  NO_SPACE: entry('{needBytes} bytes are wanted, {freeBytes} are free', 'RESOURCE_EXHAUSTED', 507, false),
  RESOURCE_EXHAUSTED: entry('no {resource} left: {reason}', 'RESOURCE_EXHAUSTED', 507, true),
  DEVICE_FULL: entry('device {device} is full', 'RESOURCE_EXHAUSTED', 507, false),
  DEVICE_FAILED: entry('device {device} has failed: {reason}', 'UNAVAILABLE', 503, false),
  DEVICE_READ_ONLY: entry('device {device} takes no writes: {reason}', 'FAILED_PRECONDITION', 409, false),
  DEVICE_FOREIGN: entry('device {device} belongs to {owner}, not to {expected}', 'FAILED_PRECONDITION', 409, false),
  FORMAT_UNKNOWN: entry('{what} has format {found}, this release reads {supported}', 'FAILED_PRECONDITION', 409, false),

  // Volumes
  VOLUME_NOT_FOUND: entry('there is no volume {volumeId}', 'NOT_FOUND', 404, false),
  VOLUME_EXISTS_DIFFERENT: entry('volume {name} exists with another {field}', 'ALREADY_EXISTS', 409, false),
  VOLUME_ATTACHED_ELSEWHERE: entry(
    'volume {volumeId} is attached to node {nodeName}: detach it there first',
    'FAILED_PRECONDITION',
    409,
    false,
  ),
  VOLUME_OPEN_BLOCKED: entry(
    'volume {volumeId} cannot be opened before these nodes answer: {nodes}',
    'UNAVAILABLE',
    503,
    true,
  ),
  EPOCH_STALE: entry('epoch {epoch} of {id} is older than {currentEpoch}', 'FAILED_PRECONDITION', 409, false),
  VOLUME_IO: entry('{operation} of volume {volumeId} failed: {reason}', 'UNAVAILABLE', 503, false),
  LOG_IMAGE_INVALID: entry('log image: {reason}', 'DATA_LOSS', 500, false),
  KEEPER_REFUSED: entry('the keeper refused {operation}: {reason}', 'FAILED_PRECONDITION', 409, false),
  FENCED: entry(
    'the writer of {owner} is fenced: only epoch {fence} or later may write',
    'FAILED_PRECONDITION',
    409,
    false,
  ),
  FENCES_INCOMPLETE: entry(
    'node {nodeId} takes no log blobs before it has the fences of its peers: {reason}',
    'UNAVAILABLE',
    503,
    true,
  ),

  // Volumes as an orchestrator asks for them (csi/)
  PARAMETER_UNKNOWN: entry('parameter {parameter} is not known; known are {allowed}', 'INVALID_ARGUMENT', 400, false),
  SECRET_UNKNOWN: entry('secrets {secrets} are not known: no call takes secrets', 'INVALID_ARGUMENT', 400, false),
  ACCESS_MODE_UNSUPPORTED: entry(
    'access mode {mode} is not supported: a volume is on one node at a time; supported are {allowed}',
    'INVALID_ARGUMENT',
    400,
    false,
  ),
  TOPOLOGY_UNREACHABLE: entry(
    'no volume can be reached from {requested}: the zones of the cluster are {available}',
    'RESOURCE_EXHAUSTED',
    409,
    false,
  ),
  ATTACH_LIMIT: entry('node {nodeName} has {limit} volumes, more cannot be attached', 'RESOURCE_EXHAUSTED', 429, true),
  VOLUME_NOT_ATTACHED: entry(
    'volume {volumeId} is not attached to this node: ControllerPublishVolume comes first',
    'FAILED_PRECONDITION',
    409,
    false,
  ),
  VOLUME_NOT_STAGED: entry('volume {volumeId} is not staged at {path}', 'FAILED_PRECONDITION', 409, false),
  VOLUME_NOT_PUBLISHED: entry('volume {volumeId} is not at {path}', 'NOT_FOUND', 404, false),
  VOLUME_MOUNTED_DIFFERENT: entry(
    'volume {volumeId} is at {path} already with another {field}',
    'ALREADY_EXISTS',
    409,
    false,
  ),
  VOLUME_IN_USE: entry('volume {volumeId} is in use: {reason}', 'FAILED_PRECONDITION', 409, false),
  VOLUME_NOT_BLANK: entry(
    'volume {volumeId} holds {found} where {wanted} is wanted, and what holds something is never formatted',
    'FAILED_PRECONDITION',
    409,
    false,
  ),
  PATH_UNUSABLE: entry('{path} cannot be used: {reason}', 'FAILED_PRECONDITION', 409, false),

  // Devices as the kubelet asks for them (device-plugin/)
  DEVICE_NOT_FOUND: entry('{resource} has no device {id}', 'NOT_FOUND', 404, false),
  DEVICE_UNHEALTHY: entry('device {id} of {resource} is unhealthy', 'FAILED_PRECONDITION', 409, true),
  DEVICE_UNUSABLE: entry('{id} of {resource} cannot be used now: {reason}', 'FAILED_PRECONDITION', 409, true),
  CLAIM_REFUSED: entry('claim {claim} cannot be prepared: {reason}', 'FAILED_PRECONDITION', 409, true),
  KUBE_NOT_FOUND: entry('the API server has no such object: {operation}: {reason}', 'NOT_FOUND', 404, false),
  KUBE_REFUSED: entry('the API server refuses {operation}: {reason}', 'INVALID_ARGUMENT', 400, false),

  // cuFile's configuration for a container (device-plugin/cufile/)
  CUFILE_UNAVAILABLE: entry('no cufile.json can be made: {reason}', 'FAILED_PRECONDITION', 409, false),
  CUFILE_KEY_UNKNOWN: entry(
    '{path} is not a key of cufile.json{hint}; allowed there are {allowed}',
    'INVALID_ARGUMENT',
    400,
    false,
  ),
  CUFILE_KEY_VERSION: entry(
    'cuFile {version} does not know {path}: it is known {known}',
    'INVALID_ARGUMENT',
    400,
    false,
  ),
  CUFILE_VALUE_INVALID: entry('{path} of cufile.json is {given}, allowed is {allowed}', 'INVALID_ARGUMENT', 400, false),
  CUFILE_NOT_GIVEN: entry(
    '{path} of cufile.json asks for {given}, which the container was not given: it has {available}',
    'PERMISSION_DENIED',
    403,
    false,
  ),

  // Wire, drivers and processes
  PROTOCOL_ERROR: entry('{peer} broke the protocol: {reason}', 'INTERNAL', 502, false),
  DRIVER_UNAVAILABLE: entry('{port} driver {driver} is not available: {reason}', 'FAILED_PRECONDITION', 501, false),
  COMMAND_FAILED: entry('{command} failed: {reason}', 'INTERNAL', 500, false),
  FILE_INVALID: entry('{path} cannot be used: {reason}', 'FAILED_PRECONDITION', 500, false),
  LOCK_HELD: entry('{path} is held by process {pid}', 'FAILED_PRECONDITION', 409, true),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** The placeholder names of a template: 'a {x} b {y}' -> 'x' | 'y'. */
type Placeholders<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;

export type FieldValue = string | number | bigint | boolean | readonly (string | number)[];
export type ErrorFields<C extends ErrorCode> = Readonly<
  Record<Placeholders<(typeof ERRORS)[C]['template']>, FieldValue>
> &
  Readonly<Record<string, FieldValue>>;
