//! Documents that are refused or lead nowhere: real Envoys refuse nothing, and what stands beside them and behind them is followed.

use super::{BOTH, LIMIT, World};
use crate::support::{
    until,
    wrong::{self, Wrong, to},
};
use std::fs;

pub async fn cost_themselves(world: &World) {
    let documents = wrong::documents(BOTH, "bytes-service.example");
    for (turn, Wrong { what, text, page, words }) in documents.into_iter().enumerate() {
        world.put("bad.yaml", &text);
        until(&format!("{words:?} in {page}"), LIMIT, async || {
            let (_, text) = world.portolan.get(page).await;
            if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
        })
        .await;
        let (http, expected) = match turn % 2 {
            0 => (to("bytes-service.example"), (200, "bytes / after.test".to_owned())),
            _ => (
                format!("{{ directResponse: {{ status: 203, body: {{ string: 'turn {turn}' }} }} }}"),
                (203, format!("turn {turn}")),
            ),
        };
        world.put("after.yaml", &wrong::routes("after", "after.test", BOTH, &http));
        for gate in &world.gates {
            gate.answers(&gate.url("/"), &[("host", "after.test")], (expected.0, &expected.1)).await;
            assert_eq!(gate.envoy.complaints().await, [], "{}: {what}", gate.way);
        }
    }
    // Two of one host are appended; the other one's catch-all goes behind.
    let second = wrong::routes(
        "second",
        "after.test",
        BOTH,
        "{ match: [{ uri: { prefix: /second } }], directResponse: { status: 204 } }",
    );
    world.put("bad.yaml", &second);
    for gate in &world.gates {
        gate.answers(&gate.url("/second"), &[("host", "after.test")], (204, "")).await;
    }
    for name in ["bad.yaml", "after.yaml"] {
        fs::remove_file(world.routes.path().join(name)).unwrap();
    }
    for gate in &world.gates {
        gate.answers(&gate.url("/"), &[("host", "after.test")], (404, "")).await;
    }
}
