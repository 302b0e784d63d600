import { z } from 'zod';
import { type ConfigOf, defineConfig, option } from '../../common/config/index.ts';
import { LOG_LEVELS } from '../../common/logging/index.ts';

const path = z.string().min(1, 'must be a path');

/** The options of `nabu admission`. */
export const ADMISSION_OPTIONS = defineConfig('admission', {
  listen: option(z.string().min(1), 'where the API server finds it: HOST:PORT', '0.0.0.0:8443'),
  tlsCert: option(path, 'the certificate chain in PEM; read again when it changes', '/etc/nabustore/tls/tls.crt'),
  tlsKey: option(path, 'its key in PEM', '/etc/nabustore/tls/tls.key'),
  resources: option(
    path,
    "the device plugin's configuration file: the sizes of hugetlbfs units",
    '/etc/nabustore/device-plugin.yaml',
  ),
  metrics: option(z.string(), 'where /metrics, /healthz and /readyz are, in plain HTTP: HOST:PORT; empty: nowhere', ''),
  logLevel: option(z.enum(LOG_LEVELS), 'least severity that is logged', 'info'),
});

export type AdmissionOptions = ConfigOf<(typeof ADMISSION_OPTIONS)['options']>;
