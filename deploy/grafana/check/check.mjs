// Writes everything that Grafana reads as constants of TypeScript, of Grafana's own types, and compiles them. A field
// that there is not, or a word that means nothing, is a mistake that Grafana itself would pass over.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDocument } from 'yaml';

const here = dirname(fileURLToPath(import.meta.url));
const home = dirname(here);
const provisioning = join(home, 'provisioning');

// Kinds of panels, and where Grafana says what they take.
const KINDS = {
  barchart: 'BarChart',
  stat: 'Stat',
  table: 'Table',
  timeseries: 'TimeSeries',
  trend: 'Trend',
};

const HEAD = `import type { Dashboard } from '@grafana/schema';
import type { Alerts, Datasources, Providers, Query } from '${join(here, 'provisioning')}';
${Object.entries(KINDS)
  .map(([kind, name]) => {
    const path = `@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen`;
    return `import type * as ${kind} from '${path}';`;
  })
  .join('\n')}

// In JSON the words of an enum are plain texts.
type Json<T> = T extends string ? \`\${T}\` : T extends readonly (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Custom<T> = Json<Partial<T>>;
// Tables and time series have parts that the types give as any one cell's or axis' settings.
type FieldOf<K> = K extends 'stat' ? Record<string, never> : K extends 'barchart' ? barchart.FieldConfig
  : K extends 'table' ? table.FieldConfig : K extends 'timeseries' ? timeseries.FieldConfig : trend.FieldConfig;
`;

const constants = [];
const constant = (type, value) => {
  constants.push(`export const checked${constants.length}: ${type} = ${JSON.stringify(value, null, 1)};`);
};

const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
const yaml = (path) => {
  const document = parseDocument(readFileSync(path, 'utf8'), { strict: true, uniqueKeys: true });
  const wrong = [...document.errors, ...document.warnings];
  if (wrong.length > 0) {
    throw new Error(`${path}: ${wrong[0].message}`);
  }
  return document.toJS();
};

const boards = readdirSync(join(home, 'dashboards')).sort();
let panels = 0;
for (const file of boards) {
  const board = json(join(home, 'dashboards', file));
  constant('Json<Dashboard>', board);
  for (const panel of board.panels.filter(({ type }) => type !== 'row')) {
    if (!(panel.type in KINDS)) {
      throw new Error(`${file}: nobody says what a ${panel.type} takes`);
    }
    constant(`Json<Partial<${panel.type}.Options>>`, panel.options);
    const custom = `Custom<FieldOf<'${panel.type}'>>`;
    constant(custom, panel.fieldConfig.defaults.custom);
    for (const { properties } of panel.fieldConfig.overrides) {
      const own = properties.filter(({ id }) => id.startsWith('custom.'));
      constant(custom, Object.fromEntries(own.map(({ id, value }) => [id.slice('custom.'.length), value])));
    }
    panel.targets.forEach((target) => constant('Query', target));
    panels += 1;
  }
}
constant('Datasources', yaml(join(provisioning, 'datasources/temper.yaml')));
constant('Providers', yaml(join(provisioning, 'dashboards/temper.yaml')));
constant('Alerts', json(join(provisioning, 'alerting/temper.json')));

const folder = join(here, 'node_modules', '.checked');
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'checked.ts'), [HEAD, ...constants].join('\n'));
const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');
const settings = '--strict --noEmit --skipLibCheck --target es2022 --module esnext --moduleResolution bundler'.split(' ');
const { status } = spawnSync(process.execPath, [tsc, ...settings, join(folder, 'checked.ts')], { stdio: 'inherit' });
console.log(`${boards.length} dashboards, ${panels} panels, ${constants.length} constants`);
process.exitCode = status ?? 1;
