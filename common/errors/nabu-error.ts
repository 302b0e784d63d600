import { ERRORS, type ErrorCode, type ErrorEntry, type ErrorFields, type FieldValue } from './registry.ts';

const FIELD_LIMIT_CHARS = 512;

function render(value: FieldValue | undefined): string {
  const text = Array.isArray(value) ? value.join(', ') : String(value);
  return text.length > FIELD_LIMIT_CHARS ? `${text.slice(0, FIELD_LIMIT_CHARS)}...` : text;
}

function format(template: string, fields: Readonly<Record<string, FieldValue>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => render(fields[name]));
}

/** An error of the registry. Its message and fields are meant for the caller; `cause` is for the log alone. */
export class NabuError extends Error {
  readonly code: ErrorCode;
  readonly fields: Readonly<Record<string, FieldValue>>;

  private constructor(code: ErrorCode, fields: Readonly<Record<string, FieldValue>>, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'NabuError';
    this.code = code;
    this.fields = fields;
  }

  /** Fields fill the template's placeholders; further fields are kept for programs that read them. */
  static of<C extends ErrorCode>(code: C, fields: ErrorFields<C>, options?: { readonly cause?: unknown }): NabuError {
    return new NabuError(code, fields, format(ERRORS[code].template, fields), options?.cause);
  }

  /** For errors that arrive from a peer or an addon. Without its message the template is filled with what fields there are. */
  static revive(code: ErrorCode, fields: Readonly<Record<string, FieldValue>>, message?: string): NabuError {
    return new NabuError(code, fields, message ?? format(ERRORS[code].template, fields));
  }

  /** Without codes: is it ours at all. */
  static is(err: unknown, ...codes: readonly ErrorCode[]): err is NabuError {
    return err instanceof NabuError && (codes.length === 0 || codes.includes(err.code));
  }

  get entry(): ErrorEntry {
    return ERRORS[this.code];
  }

  get retryable(): boolean {
    return this.entry.retryable;
  }

  toJSON(): { code: ErrorCode; message: string; fields: Record<string, unknown>; retryable: boolean } {
    const fields: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(this.fields)) {
      fields[name] = typeof value === 'bigint' ? value.toString() : value;
    }
    return { code: this.code, message: this.message, fields, retryable: this.retryable };
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}
