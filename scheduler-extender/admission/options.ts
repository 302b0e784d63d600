import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { EXTENDER_CONFIG, RULE_OPTIONS, WATCH_OPTIONS } from '../config/index.ts';
import { DEFAULT_PLACEMENT_RULES } from './placement-rules.ts';

const path = z.string().min(1, 'must be a path');
const bounds = DEFAULT_PLACEMENT_RULES;
const count = z.int().min(0).max(1024);
const { identity, logLevel, health } = EXTENDER_CONFIG.options;

/** The options of `nabu scheduler-admission`. */
export const SCHEDULER_ADMISSION_CONFIG = defineConfig('scheduler-admission', {
  listen: option(z.string().min(1), 'where the API server finds it: HOST:PORT', '0.0.0.0:8443'),
  tlsCert: option(path, 'the certificate chain in PEM; read again when it changes', '/etc/nabustore-tls/tls.crt'),
  tlsKey: option(path, 'its key in PEM', '/etc/nabustore-tls/tls.key'),
  health,
  schedulers: option(
    z.string(),
    'names of schedulers that ask the extender, separated by commas: their pods are marked and gated; empty: none does',
    '',
  ),
  adviseOthers: option(
    z.boolean(),
    'pods of other schedulers get what is known when they are made as node and pod affinity',
    true,
  ),
  sendTo: option(
    z.string().regex(/^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$/, 'must be the name of a scheduler'),
    'pods of ours that name no scheduler get this one: a profile that looks at all nodes, or a second scheduler; empty: they stay',
    '',
  ),
  gates: option(z.boolean(), 'marked pods wait behind a scheduling gate that is lifted at a bounded rate', true),
  gateRate: option(z.number().min(0.1).max(100_000), 'pods a second that are let to the scheduler', 100),
  gateBurst: option(z.int().min(1).max(100_000), 'pods that are let to it at once after a quiet time', 200),
  gateWindow: option(
    z.int().min(1).max(100_000),
    'pods that may be with one scheduler and neither placed nor refused: each costs it a timeout where an extender hangs',
    3,
  ),
  extender: option(
    z.string(),
    'where the extender tells its health without TLS, http://HOST:PORT; needed where gates are lifted',
    '',
  ),
  service: option(
    z.string(),
    'NAMESPACE/NAME of the Service that leads to the extender, as its own --service: nobody is behind it while that hangs',
    '',
  ),
  lease: option(z.string(), 'NAMESPACE/NAME of the Lease whose holder lifts gates; empty: this one does always', ''),
  identity,
  ...WATCH_OPTIONS,
  ...RULE_OPTIONS,
  maxRequiredTerms: option(
    z.int().min(1).max(256),
    "of required node affinity, the pod's own multiplied with ours: beyond it none is written",
    bounds.maxRequiredTerms,
  ),
  maxPreferredTerms: option(count.max(256), 'of preferred node affinity', bounds.maxPreferredTerms),
  maxNodes: option(count.max(256), 'nodes that preferred affinity names one by one', bounds.maxNodes),
  maxValues: option(count, 'names of zones, racks and rails in the terms of one pod', bounds.maxValues),
  betterRatio: option(
    z.number().min(1).max(1000),
    'few nodes are much better where the best of the others takes so many times as long',
    bounds.betterRatio,
  ),
  fewShare: option(z.number().min(0).max(1), 'of all nodes, how many are few', bounds.fewShare),
  logLevel,
});

export type SchedulerAdmissionConfig = ConfigOf<typeof SCHEDULER_ADMISSION_CONFIG.options>;
